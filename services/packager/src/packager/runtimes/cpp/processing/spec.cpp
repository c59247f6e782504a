#include "processing/spec.h"

#include <algorithm>

#include "processing/kernels.h"
#include "processing/section.h"

namespace modelport {

namespace {

constexpr Index SCHEMA_VERSION = 1;
constexpr Index MAX_SIDE = 4096;
constexpr Index MAX_DETECTIONS = 3000;
constexpr Index MAX_TOP_K = 1000;
constexpr Index MAX_POINTS = 1000;

template <typename Table>
std::vector<std::string> keys(const Table& table) {
    std::vector<std::string> made;
    for (const auto& row : table) made.push_back(row.first);
    return made;
}

Size read_size(const Section& part, const std::string& name) {
    const auto [height, width] = part.pair(name, "[height, width]", 1, MAX_SIDE);
    return {height, width};
}

std::optional<KeypointShape> read_keypoint_shape(const Section& part) {
    if (!part.has("keypoint_shape")) return std::nullopt;
    const auto [points, numbers] = part.pair("keypoint_shape", "[points, numbers per point]", 1, MAX_POINTS);
    if (numbers < 2 || numbers > 3) throw MetadataError(part.field("keypoint_shape.1"), "must be 2 or 3");
    return KeypointShape{points, numbers};
}

}  // namespace

void check_version(const Section& root) { root.one_of("schema_version", std::vector<Index>{SCHEMA_VERSION}); }

Resize read_resize(const Section& pre) {
    const Section part = pre.section("resize");
    Resize made;
    made.method = part.one_of("method", keys(methods()));
    made.size = read_size(part, "size");
    made.kernel = part.one_of("kernel", keys(kernels()));
    if (part.has("resize_to")) made.resize_to = read_size(part, "resize_to");
    made.fill_value = static_cast<std::uint8_t>(part.integer("fill_value", 114, 0, 255));
    made.scale_up = part.flag("scale_up", true);
    made.center = part.flag("center", true);
    made.crop_offset = part.one_of("crop_offset", keys(crop_offsets()), "round");
    return made;
}

Normalize read_normalize(const Section& pre) {
    const Section part = pre.section("normalize");
    part.one_of("method", {"standard"}, "standard");
    Normalize made;
    made.std = part.triple("std", made.std);
    if (std::count(made.std.begin(), made.std.end(), 0.0) > 0) throw MetadataError(part.field("std"), "must not be zero");
    made.mean = part.triple("mean", made.mean);
    made.scale = part.number("scale", made.scale);
    made.embedded = part.flag("embedded", false);
    return made;
}

TensorFormat read_format(const Section& pre, bool embedded) {
    const Section part = pre.section("format");
    part.one_of("input_layout", {"HWC"}, "HWC");
    const std::string dtype = embedded ? "uint8" : "float32";
    return {part.one_of("output_layout", {"NCHW", "NHWC"}, "NCHW"), part.one_of("color_space", {"RGB", "BGR"}, "RGB"),
            part.one_of("dtype", {dtype}, dtype),
            part.one_of("exif_orientation", {"applied", "ignored"}, "applied") == "applied"};
}

Post read_post(const Section& root) {
    const Section part = root.section("postprocessing"), nms = part.section("nms");
    Post made;
    made.decoder = part.one_of("decoder", keys(decoders()));
    made.confidence = nms.number("confidence_threshold", made.confidence, 0, 1);
    made.iou = nms.number("iou_threshold", made.iou, 0, 1);
    made.max_detections = nms.integer("max_detections", made.max_detections, 1, MAX_DETECTIONS);
    made.nms_enabled = nms.flag("enabled", false);
    made.nms_embedded = nms.flag("embedded", false);
    made.class_agnostic = nms.flag("class_agnostic", false);
    made.top_k = part.integer("top_k", made.top_k, 1, MAX_TOP_K);
    made.keypoint_shape = read_keypoint_shape(part);
    return made;
}

void check_decoder(const Post& post, const Resize& resize, const std::vector<std::string>& outputs) {
    const Decoder& traits = post.traits();
    if (outputs.size() < traits.outputs) {
        throw MetadataError("output_spec", post.decoder + " needs " + std::to_string(traits.outputs) + " outputs, not " +
                                               std::to_string(outputs.size()));
    }
    if (traits.keypoints && !post.keypoint_shape) {
        throw MetadataError("postprocessing.keypoint_shape", "is missing, which " + post.decoder + " needs");
    }
    const bool is_centred = resize.method == "letterbox" && resize.center && resize.scale_up;
    if (traits.masks && traits.kind == Kind::objects && !is_centred) {
        throw MetadataError("preprocessing.resize", post.decoder + " needs a centred letterbox that may enlarge");
    }
}

std::map<Index, std::string> read_classes(const Section& root) {
    std::map<Index, std::string> made;
    for (const Section& entry : root.sections("classes")) {
        const Index id = entry.integer("id", std::nullopt, 0);
        made[id] = entry.text("name");
    }
    return made;
}

std::vector<std::string> read_outputs(const Section& root) {
    const Section part = root.section("output_spec");
    std::vector<std::string> made;
    for (const std::string& key : part.names()) made.push_back(part.section(key).text("name"));
    if (made.empty()) throw MetadataError("output_spec", "must name at least one output");
    return made;
}

}  // namespace modelport
