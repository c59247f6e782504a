/// What decoders share: the facts of a model that they read, what they give back, and checks of an output's shape.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "processing/arrays.h"
#include "processing/errors.h"

namespace modelport {

/// What a prediction is: a class of the whole picture, an object with a box, or all pixels of a class.
enum class Kind { classes, objects, regions };

/// Points of an object, and numbers per point.
struct KeypointShape {
    Index points = 0;
    Index numbers = 0;
};

/// What a decoder has to know beside the outputs.
struct Model {
    Index classes = 0;
    std::optional<KeypointShape> keypoint_shape;
    Size input_size;
};

/// Candidates above the confidence, in input pixels; one row, score and class each.
struct Candidates {
    /// x1 y1 x2 y2, [N, 4]; of rotated boxes cx cy w h angle, [N, 5].
    Matrix boxes;
    Floats scores;
    std::vector<Index> classes;
    /// [N, K * 3]: x, y, confidence (1 where the model tells none).
    std::optional<Matrix> keypoints;
    /// [N, M], of the masks.
    std::optional<Matrix> coefficients;
    /// M channels, of all masks.
    Planes prototypes;

    /// Those candidates alone, in that order.
    Candidates take(const std::vector<Index>& rows) &&;
};

/// The outputs that a decoder reads, in the order of `output_spec`.
using Raw = std::vector<const Array*>;

using ClassesDecoder = Floats (*)(const Raw&);
using ObjectsDecoder = Candidates (*)(const Raw&, const Model&, double confidence);
using RegionsDecoder = Planes (*)(const Raw&);

/// One row of the table: how outputs are read, how many they are, and traits that metadata is checked for.
struct Decoder {
    Kind kind;
    std::variant<ClassesDecoder, ObjectsDecoder, RegionsDecoder> decode;
    std::size_t outputs = 1;
    bool rotated = false;
    bool masks = false;
    bool keypoints = false;
};

/// `postprocessing.decoder` of metadata.json.
const std::map<std::string, Decoder>& decoders();

/// The shape of the only picture's output, without its first axis; throws MetadataError for another number of axes or
/// pictures.
Shape single(const Array& output, std::size_t dimensions);

/// The only picture's planes, [1, C, h, w]; throws MetadataError where there are none.
Planes planes(const Array& output);

/// The error for outputs that are not those of the decoder.
MetadataError wrong(const std::string& message);

/// cx cy w h of each row to x1 y1 x2 y2.
void corners(Matrix& centred);

}  // namespace modelport
