#include "processing/regions.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>

#include "processing/bilinear.h"
#include "processing/errors.h"

namespace modelport {

namespace {

/// Classes times pixels of one picture.
constexpr Index MAX_LOGITS = Index{1} << 31;
constexpr Index TILE = Index{1} << 20;

/// The best class of each pixel, [height, width], and for each class its pixels and the sum of its probabilities there.
struct Labels {
    std::vector<std::uint32_t> labels;
    std::vector<double> totals;
    std::vector<Index> areas;
};

/// One pixel's class and how likely it is; logits lie `stride` apart.
struct Best {
    Index label;
    float probability;
};

Best best_of(const float* logits, Index classes, Index stride) {
    const Index label = argmax(logits, classes, stride);
    float sum = 0.0f;
    for (Index i = 0; i < classes; ++i) sum += std::exp(logits[i * stride] - logits[label * stride]);
    return {label, 1.0f / sum};
}

Labels labels_of(const Planes& logits, Size source) {
    const Index classes = logits.channels;
    const Taps rows = taps(logits.height, source.height), columns = taps(logits.width, source.width);
    const Index wide = std::max<Index>(std::min(TILE / classes, source.width), 1);
    const Index high = std::max<Index>(TILE / (classes * wide), 1);
    const std::size_t count = static_cast<std::size_t>(classes);
    Labels made{std::vector<std::uint32_t>(static_cast<std::size_t>(source.height * source.width)),
                std::vector<double>(count), std::vector<Index>(count)};
    for (Index left = 0; left < source.width; left += wide) {
        for (Index top = 0; top < source.height; top += high) {
            const Planes tile = resample(logits, rows.part(top, top + high), columns.part(left, left + wide));
            for (Index i = 0; i < tile.height * tile.width; ++i) {
                const Best best = best_of(tile.values.data() + i, classes, tile.height * tile.width);
                const Index pixel = (top + i / tile.width) * source.width + left + i % tile.width;
                made.labels[static_cast<std::size_t>(pixel)] = static_cast<std::uint32_t>(best.label);
                made.totals[static_cast<std::size_t>(best.label)] += static_cast<double>(best.probability);
                ++made.areas[static_cast<std::size_t>(best.label)];
            }
        }
    }
    return made;
}

/// Runs of one class down the columns, and the box around them.
struct Runs {
    std::vector<Index> starts, ends;
    Index left, top, right, bottom;

    void add(Index column, Index first, Index last, Index height) {
        if (starts.empty()) left = column, top = first, bottom = last;
        top = std::min(top, first);
        right = column + 1;
        bottom = std::max(bottom, last);
        starts.push_back(column * height + first);
        ends.push_back(column * height + last);
    }
};

/// Of each class that is there, by its number.
std::map<Index, Runs> runs_of(const std::vector<std::uint32_t>& labels, Size size) {
    std::map<Index, Runs> made;
    Index number = 0;
    for (Index x = 0; x < size.width; ++x) {
        const auto label = [&](Index y) { return labels[static_cast<std::size_t>(y * size.width + x)]; };
        for (Index first = 0, last; first < size.height; first = last) {
            for (last = first + 1; last < size.height && label(last) == label(first);) ++last;
            made[static_cast<Index>(label(first))].add(x, first, last, size.height);
            check_runs(2 * ++number);
        }
    }
    return made;
}

}  // namespace

std::vector<Region> regions(const Planes& logits, Size source) {
    const Index classes = logits.channels;
    if (classes > MAX_LOGITS / source.height / source.width) {
        throw AnswerError(std::to_string(classes) + " classes of a picture of " + std::to_string(source.width) + " x " +
                          std::to_string(source.height) + " pixels are too many");
    }
    const Labels found = labels_of(logits, source);
    std::vector<Region> made;
    for (const auto& [label, runs] : runs_of(found.labels, source)) {
        const std::size_t at = static_cast<std::size_t>(label);
        const double confidence = found.totals[at] / static_cast<double>(found.areas[at]);
        const std::array<double, 4> bbox{static_cast<double>(runs.left), static_cast<double>(runs.top),
                                         static_cast<double>(runs.right), static_cast<double>(runs.bottom)};
        made.push_back({label, confidence, bbox, from_runs(runs.starts, runs.ends, source)});
    }
    std::stable_sort(made.begin(), made.end(), [&found](const Region& a, const Region& b) {
        return found.areas[static_cast<std::size_t>(a.class_id)] > found.areas[static_cast<std::size_t>(b.class_id)];
    });
    return made;
}

}  // namespace modelport
