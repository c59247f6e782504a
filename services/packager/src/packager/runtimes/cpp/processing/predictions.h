/// What a picture's prediction is made of, the same for every task; what a task lacks is empty and not in its JSON.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "processing/masks.h"

namespace modelport {

/// One class of a picture, one detected object, or all pixels of one class; lengths are pixels of the source picture.
struct Prediction {
    std::int64_t class_id = 0;
    std::string class_name;
    double confidence = 0.0;
    /// x1 y1 x2 y2; none for classifiers; of a rotated box and of a segmentation the enclosing box.
    std::optional<std::array<double, 4>> bbox;
    /// cx cy w h and the angle in radians, clockwise, as y goes down.
    std::optional<std::array<double, 5>> rotated_box;
    /// x, y and confidence of each point.
    std::optional<std::vector<std::array<double, 3>>> keypoints;
    /// As large as the picture.
    std::optional<Mask> mask;
};

/// The prediction as JSON, in one line; what the task has not is left out, but for `bbox`.
std::string to_json(const Prediction& prediction);

}  // namespace modelport
