/// metadata.json read into values; what this code does not know is refused by the name of its field.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "processing/decoders/base.h"
#include "processing/geometry.h"

namespace modelport {

class Section;

/// `(u8 * scale - mean) / std`; `embedded`: the graph does it and takes uint8.
struct Normalize {
    double scale = 1.0 / 255.0;
    std::array<double, 3> mean{};
    std::array<double, 3> std{1.0, 1.0, 1.0};
    bool embedded = false;
};

/// Layout NCHW or NHWC, colour order RGB or BGR, and whether EXIF orientation is applied to pictures.
struct TensorFormat {
    std::string layout;
    std::string color_space;
    std::string dtype;
    bool exif = true;
};

/// Decoder and default thresholds; `nms_embedded`: the graph suppresses, its thresholds bound what can be asked for.
struct Post {
    std::string decoder;
    double confidence = 0.25;
    double iou = 0.45;
    Index max_detections = 300;
    bool nms_enabled = false;
    bool nms_embedded = false;
    bool class_agnostic = false;
    Index top_k = 5;
    std::optional<KeypointShape> keypoint_shape;

    /// The decoder's row of the table.
    const Decoder& traits() const { return decoders().at(decoder); }
};

/// Throws MetadataError for any schema but version 1.
void check_version(const Section& root);
/// `preprocessing.resize`.
Resize read_resize(const Section& pre);
/// `preprocessing.normalize`.
Normalize read_normalize(const Section& pre);
/// `preprocessing.format`; the tensor is uint8 exactly where the graph normalises.
TensorFormat read_format(const Section& pre, bool embedded);
/// `postprocessing`.
Post read_post(const Section& root);
/// Throws MetadataError where the decoder needs what the rest of the metadata does not give.
void check_decoder(const Post& post, const Resize& resize, const std::vector<std::string>& outputs);
/// Class id to name.
std::map<Index, std::string> read_classes(const Section& root);
/// Names of the model's outputs, in the order of `output_spec`.
std::vector<std::string> read_outputs(const Section& root);

}  // namespace modelport
