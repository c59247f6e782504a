/// Repeats the package's golden vectors on this machine: `verify [package] [--without-model] [--json]`; exit code 0 only if all of it is
/// the same.
///
/// Five questions: are the files those of metadata.json, does a picture become the same tensor, do outputs become the same
/// predictions, does the model give the same outputs, and does all of it together give the same predictions of a picture.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "comparison.h"
#include "goldens.h"
#include "model_wrapper.h"
#include "processing/checksums.h"
#include "processing/section.h"

namespace {

namespace fs = std::filesystem;
using namespace modelport;

/// Prints and counts checks; `subject` is the part of the package that answers for one.
class Report {
public:
    explicit Report(bool as_json) : as_json_(as_json) {}

    /// The check's verdict, failed where asking throws.
    void add(const std::string& subject, const std::string& name, const std::function<Verdict()>& ask) {
        Verdict verdict;
        try {
            verdict = ask();
        } catch (const std::exception& error) {
            verdict = {false, error.what()};
        }
        ++total_;
        failed_ += verdict.passed ? 0 : 1;
        if (as_json_) {
            const Json line{{"subject", subject}, {"name", name}, {"passed", verdict.passed}, {"detail", verdict.detail}};
            std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
        } else {
            std::cout << (verdict.passed ? "pass  " : "FAIL  ") << subject << ' ' << name << ": " << verdict.detail << std::endl;
        }
    }

    /// The last line; whether all checks passed, of which there must be some.
    bool end() const {
        if (!as_json_) std::cout << total_ - failed_ << " of " << total_ << " checks passed" << std::endl;
        return failed_ == 0 && total_ > 0;
    }

private:
    bool as_json_;
    int total_ = 0;
    int failed_ = 0;
};

Options options_of(const Json& asked) {
    Options options;
    if (!asked.at("confidence_threshold").is_null()) options.confidence_threshold = asked["confidence_threshold"].get<double>();
    if (!asked.at("iou_threshold").is_null()) options.iou_threshold = asked["iou_threshold"].get<double>();
    if (!asked.at("max_detections").is_null()) options.max_detections = asked["max_detections"].get<Index>();
    if (!asked.at("top_k").is_null()) options.top_k = asked["top_k"].get<Index>();
    return options;
}

/// Predictions against those of a vector, within the tolerances of this name.
Verdict compared(const Pipeline& pipeline, const Goldens& goldens, const Json& vector, const char* name,
                 const std::vector<Prediction>& got) {
    const Json& allowed = goldens.vectors().at("tolerances").at(name);
    const Tolerance tolerance{allowed.at("confidence").get<double>(), allowed.at("pixels").get<double>(), allowed.at("mask").get<double>()};
    std::vector<Prediction> expected;
    for (const Json& prediction : vector.at("predictions")) expected.push_back(from_json(prediction));
    std::optional<double> threshold = options_of(vector.at("options")).confidence_threshold;
    if (!threshold && pipeline.post.traits().kind == Kind::objects) threshold = pipeline.post.confidence;
    return compare(got, expected, threshold, tolerance, goldens.vectors().at("boxes").get<bool>());
}

/// A tensor against a fingerprint; if they differ, the first stored value that does.
Verdict same_tensor(const Tensor& tensor, const Json& expected) {
    const Fingerprint got = fingerprint(tensor);
    const Shape shape = expected.at("shape").get<Shape>();
    const std::string dtype = expected.at("dtype").get<std::string>(), crc = expected.at("crc32").get<std::string>();
    if (got.dtype != dtype || got.shape != shape) {
        return {false, got.dtype + " " + to_string(got.shape) + ", expected " + dtype + " " + to_string(shape)};
    }
    if (got.crc32 == crc) return {true, "equal to the bit"};
    for (const Json& sample : expected.at("samples")) {
        const auto place = sample.at(0).get<std::size_t>();
        const double value = std::visit([place](const auto& values) { return static_cast<double>(values.at(place)); }, tensor.values);
        if (value != sample.at(1).get<double>()) {
            return {false, "value " + std::to_string(place) + " is " + Json(value).dump() + ", expected " + sample.at(1).dump()};
        }
    }
    return {false, "CRC-32 " + got.crc32 + ", expected " + crc};
}

/// Stored outputs to predictions.
Verdict decoded(const Pipeline& pipeline, const Goldens& goldens, const Json& vector) {
    Outputs outputs;
    for (const auto& [name, array] : vector.at("outputs").items()) outputs[name] = goldens.numbers(array.get<std::string>());
    const auto source = vector.at("source").get<std::array<Index, 2>>();
    const Geometry geometry = locate({source[0], source[1]}, pipeline.resize).second;
    const auto found = pipeline.postprocess(outputs, geometry, options_of(vector.at("options")));
    return compared(pipeline, goldens, vector, "decoded", found);
}

/// Every `stride`th value.
Floats thinned(const Floats& values, std::size_t stride) {
    if (stride < 1) throw GoldenError("has a stride of 0");
    Floats made;
    for (std::size_t i = 0; i < values.size(); i += stride) made.push_back(values[i]);
    return made;
}

/// The model's outputs against the stored values; rows of a set in any order.
Verdict same_outputs(const Outputs& outputs, const Goldens& goldens, const Json& vector) {
    const auto rows = vector.at("rows").get<std::vector<std::string>>();
    std::vector<Array> got_rows, stored_rows;
    double worst = 0.0;
    for (const auto& [name, place] : vector.at("outputs").items()) {
        const Array& output = outputs.at(name);
        const Shape shape = place.at("shape").get<Shape>();
        if (output.shape != shape) return {false, name + " has the shape " + to_string(output.shape) + ", expected " + to_string(shape)};
        for (const float value : output.values) {
            if (!std::isfinite(value)) return {false, name + " holds values that are not finite"};
        }
        const Array stored = goldens.numbers(place.at("array").get<std::string>());
        if (std::find(rows.begin(), rows.end(), name) != rows.end()) {
            got_rows.push_back(output);
            stored_rows.push_back({shape, stored.values});
            continue;
        }
        const double apart = relative_difference(thinned(output.values, place.at("stride").get<std::size_t>()), stored.values);
        if (!(apart <= worst)) worst = apart;
    }
    if (!got_rows.empty()) worst = std::max(worst, set_difference(got_rows, stored_rows));
    const double allowed = goldens.vectors().at("tolerances").at("output").get<double>();
    char told[80];
    std::snprintf(told, sizeof told, "%.1e apart, %g is allowed", worst, allowed);
    return {worst <= allowed, told};
}

/// Every file that metadata.json lists, against its SHA-256.
void file_checks(Report& report, const fs::path& package, const Section& root) {
    for (const Section& entry : root.sections("files")) {
        const std::string path = entry.text("path"), listed = entry.text("sha256");
        report.add("files", path, [&]() -> Verdict {
            if (!fs::is_regular_file(package / fs::u8path(path))) return {false, "missing"};
            const bool same = sha256(package / fs::u8path(path)) == listed;
            return {same, same ? "as listed" : "differs from metadata.json"};
        });
    }
}

/// One stored picture, stage by stage.
void model_checks(Report& report, const ModelWrapper& model, const Goldens& goldens, const Json& vector) {
    const std::string name = vector.at("name").get<std::string>();
    const Picture picture = goldens.picture(vector.at("picture").get<std::string>());
    report.add("preprocess", name, [&] { return same_tensor(model.preprocess(picture).first, vector.at("tensor")); });
    report.add("model", name, [&] { return same_outputs(model.run(model.preprocess(picture).first), goldens, vector); });
    report.add("predictions", name, [&] {
        Options options;
        options.confidence_threshold = options_of(vector.at("options")).confidence_threshold;
        return compared(model.pipeline(), goldens, vector, "predicted", model.predict(picture, options));
    });
}

/// All checks of an unpacked package, in order.
void check(Report& report, const fs::path& package, bool with_model) {
    const Json metadata = read_json(package / "metadata.json");
    const Section root(metadata, "");
    file_checks(report, package, root);
    const Pipeline pipeline = Pipeline::from_metadata(root);
    const Goldens goldens(package / "golden_vectors.safetensors");
    for (const Json& vector : goldens.vectors().at("preprocess")) {
        report.add("preprocess", vector.at("name").get<std::string>(), [&] {
            const Picture picture = draw(vector.at("pattern").get<std::string>(), vector.at("height").get<Index>(),
                                         vector.at("width").get<Index>(), vector.at("seed").get<std::uint32_t>());
            return same_tensor(pipeline.preprocess(picture).first, vector.at("tensor"));
        });
    }
    for (const Json& vector : goldens.vectors().at("postprocess")) {
        report.add("postprocess", vector.at("name").get<std::string>(), [&] { return decoded(pipeline, goldens, vector); });
    }
    if (!with_model) return;
    std::optional<ModelWrapper> model;
    std::string reason;
    try {
        model.emplace(package);
    } catch (const std::exception& error) {
        reason = error.what();
    }
    if (!model) return report.add("model", "load", [&]() -> Verdict { return {false, reason}; });
    for (const Json& vector : goldens.vectors().at("model")) model_checks(report, *model, goldens, vector);
}

}  // namespace

int main(int count, char** arguments) {
    fs::path package = ModelWrapper::default_package();
    bool with_model = true, as_json = false;
    for (int i = 1; i < count; ++i) {
        const std::string argument = arguments[i];
        if (argument == "--without-model") {
            with_model = false;
        } else if (argument == "--json") {
            as_json = true;
        } else if (!argument.empty() && argument[0] == '-') {
            std::cerr << "usage: verify [package] [--without-model] [--json]\n";
            return argument == "--help" || argument == "-h" ? 0 : 2;
        } else {
            package = fs::u8path(argument);
        }
    }
    Report report(as_json);
    try {
        check(report, package, with_model);
    } catch (const std::exception& error) {
        std::cerr << "verify: " << error.what() << '\n';
        return 1;
    }
    return report.end() ? 0 : 1;
}
