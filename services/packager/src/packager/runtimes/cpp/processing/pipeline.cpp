#include "processing/pipeline.h"

#include <algorithm>

#include "processing/objects.h"
#include "processing/regions.h"
#include "processing/section.h"

namespace modelport {

namespace {

/// The outputs that the decoder reads, in the order of `output_spec`.
Raw raw_of(const Pipeline& pipeline, const Outputs& outputs) {
    Raw raw;
    for (std::size_t i = 0; i < pipeline.post.traits().outputs; ++i) {
        const std::string& name = pipeline.output_names[i];
        const auto found = outputs.find(name);
        if (found == outputs.end()) throw MetadataError("output_spec", "the model did not give \"" + name + "\"");
        const Array& array = found->second;
        if (elements(array.shape) != static_cast<Index>(array.values.size())) {
            throw wrong("an output of " + std::to_string(array.values.size()) + " values says that it is " + to_string(array.shape));
        }
        raw.push_back(&array);
    }
    return raw;
}

/// The likeliest classes of a picture.
std::vector<Prediction> classes_of(const Pipeline& pipeline, const Floats& scores, const Options& options) {
    std::vector<Prediction> made;
    const Index count = options.top_k.value_or(pipeline.post.top_k);
    for (const Index i : best_first(scores)) {
        if (static_cast<Index>(made.size()) == count) break;
        const float score = scores[static_cast<std::size_t>(i)];
        // Scores descend: behind the first one that is not above the confidence no other is.
        if (options.confidence_threshold && !(score > static_cast<float>(*options.confidence_threshold))) break;
        Prediction prediction;
        prediction.class_id = i;
        prediction.class_name = pipeline.class_name(i);
        prediction.confidence = static_cast<double>(score);
        made.push_back(std::move(prediction));
    }
    return made;
}

/// The objects in a picture, with what their task adds to a box.
std::vector<Prediction> objects_of(const Pipeline& pipeline, Candidates found, const Geometry& geometry, const Options& options) {
    const Post& post = pipeline.post;
    const bool is_rotated = post.traits().rotated;
    std::optional<double> iou = options.iou_threshold;
    if (!iou && post.nms_enabled && !post.nms_embedded) iou = post.iou;
    const Index limit = options.max_detections.value_or(post.max_detections);
    const std::vector<Index> kept = choose(found, is_rotated, iou, limit, post.class_agnostic);
    const auto name = [&pipeline](Index class_id) { return pipeline.class_name(class_id); };
    return predictions(std::move(found).take(kept), geometry, name, is_rotated);
}

/// The classes of a picture's pixels.
std::vector<Prediction> regions_of(const Pipeline& pipeline, const Planes& logits, const Geometry& geometry, const Options& options) {
    std::vector<Prediction> made;
    const Index limit = options.max_detections.value_or(pipeline.post.max_detections);
    for (Region& region : regions(logits, geometry.source)) {
        if (options.confidence_threshold && !(region.confidence > *options.confidence_threshold)) continue;
        if (static_cast<Index>(made.size()) == limit) break;
        Prediction prediction;
        prediction.class_id = region.class_id;
        prediction.class_name = pipeline.class_name(region.class_id);
        prediction.confidence = region.confidence;
        prediction.bbox = region.bbox;
        prediction.mask = std::move(region.mask);
        made.push_back(std::move(prediction));
    }
    return made;
}

void check_fraction(const char* name, const std::optional<double>& value) {
    if (value && !(*value >= 0.0 && *value <= 1.0)) {
        throw OptionError(name, "must be from 0 to 1, not " + std::to_string(*value));
    }
}

void check_count(const char* name, const std::optional<Index>& value) {
    if (value && *value < 1) throw OptionError(name, "must be at least 1, not " + std::to_string(*value));
}

/// An option that a kind of model cannot obey, and why.
struct Meaningless {
    Kind kind;
    const char* option;
    const char* reason;
};

constexpr Meaningless MEANINGLESS[] = {
    {Kind::classes, "iou_threshold", "is for detectors"},
    {Kind::classes, "max_detections", "is for detectors; use top_k"},
    {Kind::objects, "top_k", "is for classifiers; use max_detections"},
    {Kind::regions, "top_k", "is for classifiers; use max_detections"},
    {Kind::regions, "iou_threshold", "is for detectors"},
};

/// Values in the order of the tensor's memory.
template <typename T, typename Value>
std::vector<T> laid_out(const Picture& fitted, bool is_planar, bool is_bgr, Value value) {
    std::vector<T> made(fitted.pixels.size());
    const std::size_t pixels = fitted.pixels.size() / 3;
    for (std::size_t i = 0; i < pixels; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            const std::uint8_t byte = fitted.pixels[3 * i + (is_bgr ? 2 - c : c)];
            made[is_planar ? c * pixels + i : 3 * i + c] = value(c, byte);
        }
    }
    return made;
}

}  // namespace

Table normalization_table(const Normalize& normalize) {
    Table table{};
    for (std::size_t c = 0; c < 3; ++c) {
        const float mean = static_cast<float>(normalize.mean[c]), std = static_cast<float>(normalize.std[c]);
        for (std::size_t byte = 0; byte < 256; ++byte) {
            table[c][byte] = (static_cast<float>(static_cast<double>(byte) * normalize.scale) - mean) / std;
        }
    }
    return table;
}

Pipeline Pipeline::from_metadata(const Section& root) {
    check_version(root);
    const Section pre = root.section("preprocessing");
    Pipeline made;
    made.normalize = read_normalize(pre);
    made.resize = read_resize(pre);
    made.post = read_post(root);
    made.output_names = read_outputs(root);
    check_decoder(made.post, made.resize, made.output_names);
    made.format = read_format(pre, made.normalize.embedded);
    made.classes = read_classes(root);
    made.input_name = root.section("input_spec").text("name");
    made.model_file = root.text("model_file");
    made.table = normalization_table(made.normalize);
    return made;
}

std::pair<Tensor, Geometry> Pipeline::preprocess(const PictureView& image) const {
    if (image.pixels == nullptr) throw ImageError("image_unreadable", "the picture has no pixels");
    const auto [fitted, geometry] = fit(image, resize);
    return {tensor(fitted), geometry};
}

Tensor Pipeline::tensor(const Picture& fitted) const {
    const bool is_planar = format.layout == "NCHW", is_bgr = format.color_space == "BGR";
    Tensor made;
    made.shape = is_planar ? Shape{1, 3, fitted.height, fitted.width} : Shape{1, fitted.height, fitted.width, 3};
    if (normalize.embedded) {
        made.values = laid_out<std::uint8_t>(fitted, is_planar, is_bgr, [](std::size_t, std::uint8_t byte) { return byte; });
    } else {
        made.values = laid_out<float>(fitted, is_planar, is_bgr,
                                      [this](std::size_t channel, std::uint8_t byte) { return table[channel][byte]; });
    }
    return made;
}

std::vector<Prediction> Pipeline::postprocess(const Outputs& outputs, const Geometry& geometry, const Options& options) const {
    const Decoder& decoder = post.traits();
    check_options(options, decoder.kind);
    const Raw raw = raw_of(*this, outputs);
    if (geometry.source.height < 1 || geometry.source.width < 1) throw ImageError("image_unreadable", "the picture has no pixels");
    if (decoder.kind == Kind::classes) return classes_of(*this, std::get<ClassesDecoder>(decoder.decode)(raw), options);
    if (decoder.kind == Kind::regions) {
        return regions_of(*this, std::get<RegionsDecoder>(decoder.decode)(raw), geometry, options);
    }
    const Model model{static_cast<Index>(classes.size()), post.keypoint_shape, resize.size};
    const double confidence = options.confidence_threshold.value_or(post.confidence);
    return objects_of(*this, std::get<ObjectsDecoder>(decoder.decode)(raw, model, confidence), geometry, options);
}

std::string Pipeline::class_name(Index class_id) const {
    const auto found = classes.find(class_id);
    return found != classes.end() ? found->second : std::to_string(class_id);
}

void check_options(const Options& options, Kind kind) {
    check_fraction("confidence_threshold", options.confidence_threshold);
    check_fraction("iou_threshold", options.iou_threshold);
    check_count("max_detections", options.max_detections);
    check_count("top_k", options.top_k);
    const std::map<std::string, bool> given{{"iou_threshold", options.iou_threshold.has_value()},
                                            {"max_detections", options.max_detections.has_value()},
                                            {"top_k", options.top_k.has_value()}};
    for (const Meaningless& row : MEANINGLESS) {
        if (row.kind == kind && given.at(row.option)) throw OptionError(row.option, row.reason);
    }
}

}  // namespace modelport
