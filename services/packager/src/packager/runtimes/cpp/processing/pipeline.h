/// The whole way of one picture: RGB pixels to the model's tensor, and the model's outputs to predictions.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "processing/arrays.h"
#include "processing/geometry.h"
#include "processing/predictions.h"
#include "processing/spec.h"

namespace modelport {

/// What a call asks for; what is not given is what the metadata says.
struct Options {
    std::optional<double> confidence_threshold;
    std::optional<double> iou_threshold;
    std::optional<Index> max_detections;
    std::optional<Index> top_k;
};

/// float32 [3, 256]: the normalised value of each byte, per channel in the tensor's colour order.
using Table = std::array<std::array<float, 256>, 3>;

/// `(float32(byte * scale) - mean) / std`: the product in double precision and rounded once, difference and quotient in
/// float32, which is equal to the bit to the division by 255 of torchvision, timm and Ultralytics.
Table normalization_table(const Normalize& normalize);

/// What metadata.json says about one model, ready to run; const functions may be called from several threads.
struct Pipeline {
    Resize resize;
    Normalize normalize;
    TensorFormat format;
    Post post;
    std::map<Index, std::string> classes;
    std::string input_name;
    std::vector<std::string> output_names;
    std::string model_file;
    Table table{};

    /// Throws MetadataError naming the field and what would work.
    static Pipeline from_metadata(const Section& root);

    /// The model's tensor of batch 1, [1, 3, h, w] or [1, h, w, 3], and the geometry that `postprocess` needs.
    std::pair<Tensor, Geometry> preprocess(const PictureView& image) const;

    /// Colour order, normalisation and layout of a picture that already has the model's size.
    Tensor tensor(const Picture& fitted) const;

    /// The model's outputs, by name and of batch 1, to predictions, best first.
    ///
    /// Classification lists `top_k` classes. Objects are those whose score is above the confidence, at most
    /// `max_detections`; an IoU given suppresses, also behind a graph that suppresses itself or has no need of it. Semantic
    /// segmentation gives one prediction a class, the largest first, at most `max_detections`. Where the score is not what
    /// predictions are chosen by (classes, regions), a confidence given leaves out those not above it. Throws OptionError for
    /// an option out of range or without meaning for this model, MetadataError if the outputs are not as described,
    /// AnswerError for masks too large to be given.
    std::vector<Prediction> postprocess(const Outputs& outputs, const Geometry& geometry, const Options& options = {}) const;

    /// The class's name; a class that the metadata does not list is called by its number.
    std::string class_name(Index class_id) const;
};

/// Throws OptionError for an option out of range, or one that means nothing for this kind of model.
void check_options(const Options& options, Kind kind);

}  // namespace modelport
