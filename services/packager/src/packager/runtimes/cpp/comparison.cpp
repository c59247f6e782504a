#include "comparison.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "processing/errors.h"

namespace modelport {

namespace {

using Json = nlohmann::ordered_json;

constexpr double INFINITE = std::numeric_limits<double>::infinity();

double worse(double a, double b) { return std::isnan(b) || b > a ? b : a; }

/// Infinite where one is not a number and the other is.
double apart(double a, double b) {
    if (a == b || (std::isnan(a) && std::isnan(b))) return 0.0;
    const double difference = std::abs(a - b);
    return std::isnan(difference) ? INFINITE : difference;
}

double mask_distance(const Mask& a, const Mask& b) {
    if (a.size != b.size) return 1.0;
    const Bytes one = a.pixels(), other = b.pixels();
    Index both = 0, either = 0;
    for (std::size_t i = 0; i < one.size(); ++i) {
        both += one[i] & other[i];
        either += one[i] | other[i];
    }
    return 1.0 - static_cast<double>(both) / std::max(static_cast<double>(either), 1.0);
}

template <typename List>
double list_distance(const List& a, const List& b, std::size_t count) {
    double worst = 0.0;
    for (std::size_t i = 0; i < count; ++i) worst = std::max(worst, apart(a[i], b[i]));
    return worst;
}

/// The differences of two predictions; of a rotated box, its centre's and the enclosing box's.
Tolerance distance(const Prediction& a, const Prediction& b, bool boxes) {
    Tolerance found{apart(a.confidence, b.confidence), 0.0, 0.0};
    const bool same_parts = a.bbox.has_value() == b.bbox.has_value() && a.keypoints.has_value() == b.keypoints.has_value() &&
                            a.rotated_box.has_value() == b.rotated_box.has_value() && a.mask.has_value() == b.mask.has_value();
    if (!same_parts || (a.keypoints && a.keypoints->size() != b.keypoints->size())) return {INFINITE, INFINITE, INFINITE};
    if (a.bbox && boxes) found.pixels = list_distance(*a.bbox, *b.bbox, 4);
    if (a.rotated_box) found.pixels = std::max(found.pixels, list_distance(*a.rotated_box, *b.rotated_box, 2));
    for (std::size_t i = 0; a.keypoints && i < a.keypoints->size(); ++i) {
        found.pixels = std::max(found.pixels, list_distance((*a.keypoints)[i], (*b.keypoints)[i], 2));
    }
    if (a.mask) found.mask = mask_distance(*a.mask, *b.mask);
    return found;
}

/// Whether it is a mask of less than a thousandth of the picture.
bool is_speck(const Prediction& prediction) {
    if (!prediction.mask) return false;
    const Size size = prediction.mask->size;
    return static_cast<double>(prediction.mask->area()) < static_cast<double>(size.height * size.width) / 1000.0;
}

/// What is left of two lists once counterparts are paired, and how far those are apart.
struct Pairs {
    Tolerance worst;
    std::vector<const Prediction*> alone;
};

Pairs paired(const std::vector<Prediction>& got, const std::vector<Prediction>& expected, bool boxes) {
    Pairs pairs;
    std::vector<const Prediction*> rest;
    for (const Prediction& found : got) rest.push_back(&found);
    for (const Prediction& wanted : expected) {
        auto nearest = rest.end();
        Tolerance least;
        for (auto found = rest.begin(); found != rest.end(); ++found) {
            if ((*found)->class_id != wanted.class_id || (*found)->class_name != wanted.class_name) continue;
            const Tolerance away = distance(wanted, **found, boxes);
            const auto rank = std::tie(away.pixels, away.mask, away.confidence);
            if (nearest == rest.end() || rank < std::tie(least.pixels, least.mask, least.confidence)) {
                nearest = found;
                least = away;
            }
        }
        if (nearest == rest.end()) {
            pairs.alone.push_back(&wanted);
            continue;
        }
        rest.erase(nearest);
        pairs.worst = {std::max(pairs.worst.confidence, least.confidence), std::max(pairs.worst.pixels, least.pixels),
                       std::max(pairs.worst.mask, least.mask)};
    }
    pairs.alone.insert(pairs.alone.end(), rest.begin(), rest.end());
    return pairs;
}

double largest(const Floats& values) {
    double found = 1e-12;
    for (const float value : values) found = worse(found, std::abs(static_cast<double>(value)));
    return found;
}

/// Rows of several outputs side by side, each output over its largest value in `scales`.
std::vector<std::vector<double>> table_of(const std::vector<Array>& parts, const std::vector<double>& scales) {
    const Index count = parts.front().shape[1];
    std::vector<std::vector<double>> made(static_cast<std::size_t>(count));
    for (std::size_t p = 0; p < parts.size(); ++p) {
        const std::size_t columns = count > 0 ? parts[p].values.size() / static_cast<std::size_t>(count) : 0;
        for (std::size_t i = 0; i < parts[p].values.size(); ++i) {
            made[i / columns].push_back(static_cast<double>(parts[p].values[i]) / scales[p]);
        }
    }
    return made;
}

}  // namespace

Prediction from_json(const Json& value) {
    Prediction made;
    made.class_id = value.at("class_id").get<std::int64_t>();
    made.class_name = value.at("class_name").get<std::string>();
    made.confidence = value.at("confidence").is_null() ? NAN : value.at("confidence").get<double>();
    if (!value.at("bbox").is_null()) made.bbox = value.at("bbox").get<std::array<double, 4>>();
    if (value.contains("rotated_box")) made.rotated_box = value.at("rotated_box").get<std::array<double, 5>>();
    if (value.contains("keypoints")) made.keypoints = value.at("keypoints").get<std::vector<std::array<double, 3>>>();
    if (value.contains("mask")) {
        const auto size = value.at("mask").at("size").get<std::array<Index, 2>>();
        if (elements({size[0], size[1]}) < 0) throw GoldenError("has a mask of an impossible size");
        made.mask = Mask{{size[0], size[1]}, value.at("mask").at("counts").get<std::vector<Index>>()};
    }
    return made;
}

Verdict compare(const std::vector<Prediction>& got, const std::vector<Prediction>& expected, std::optional<double> threshold,
                const Tolerance& tolerance, bool boxes) {
    const auto [worst, alone] = paired(got, expected, boxes);
    double floor = threshold.value_or(expected.empty() ? 0.0 : INFINITE);
    for (const Prediction& wanted : expected) floor = threshold ? floor : std::min(floor, wanted.confidence);
    char told[160];
    std::snprintf(told, sizeof told, "%zu predictions for %zu expected, confidence %.1e, %.1e pixels, masks %.1e apart", got.size(),
                  expected.size(), worst.confidence, worst.pixels, worst.mask);
    Verdict verdict{worst.confidence <= tolerance.confidence && worst.pixels <= tolerance.pixels && worst.mask <= tolerance.mask, told};
    for (const Prediction* one : alone) {
        if (!(one->confidence > floor + tolerance.confidence) || is_speck(*one)) continue;
        std::snprintf(told, sizeof told, " %.3f", one->confidence);
        verdict.detail += "; without counterpart: " + one->class_name + told;
        verdict.passed = false;
        break;
    }
    return verdict;
}

double relative_difference(const Floats& got, const Floats& expected) {
    if (got.size() != expected.size()) return INFINITE;
    double difference = 0.0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        difference = worse(difference, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    }
    return difference / largest(expected);
}

double set_difference(const std::vector<Array>& got, const std::vector<Array>& expected) {
    std::vector<double> scales;
    for (std::size_t p = 0; p < expected.size(); ++p) {
        const Shape& shape = expected[p].shape;
        if (got[p].shape != shape || shape.size() < 2 || shape[0] != 1 || shape[1] != expected.front().shape[1]) return INFINITE;
        if (got[p].values.size() != expected[p].values.size()) return INFINITE;
        scales.push_back(largest(expected[p].values));
    }
    const auto a = table_of(got, scales), b = table_of(expected, scales);
    std::vector<double> nearest_b(b.size(), INFINITE);
    double worst = 0.0;
    for (const std::vector<double>& row : a) {
        double nearest = INFINITE;
        for (std::size_t i = 0; i < b.size(); ++i) {
            double away = 0.0;
            for (std::size_t column = 0; column < row.size(); ++column) away = worse(away, std::abs(b[i][column] - row[column]));
            nearest = std::min(nearest, away);
            nearest_b[i] = std::min(nearest_b[i], away);
        }
        worst = std::max(worst, nearest);
    }
    for (const double nearest : nearest_b) worst = std::max(worst, nearest);
    return worst;
}

}  // namespace modelport
