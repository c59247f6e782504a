#include "processing/decoders/yolo.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace modelport {

namespace {

/// Candidates, and the numbers that follow box and classes, [N, extra].
struct Found {
    Candidates candidates;
    Matrix extra;
};

/// A class number that came as a float; what no integer can hold is a class that nobody lists.
Index class_of(float value) {
    const bool fits = std::abs(value) < 9.0e18f;
    return fits ? static_cast<Index>(value) : std::numeric_limits<Index>::min();
}

/// The best class score of each anchor, NaN where one of them is.
Floats best_scores(const Array& output, Index classes, Index anchors) {
    const auto first = output.values.begin() + 4 * anchors;
    Floats scores(first, first + anchors);
    for (Index group = 1; group < classes; ++group) {
        const float* row = output.values.data() + (4 + group) * anchors;
        for (Index i = 0; i < anchors; ++i) {
            float& score = scores[static_cast<std::size_t>(i)];
            score = maximum(score, row[i]);
        }
    }
    return scores;
}

/// Anchors whose best class is above the confidence, boxes as cx cy w h.
Found anchors_above(const Array& output, Index classes, Index extra, double confidence) {
    const Shape raw = single(output, 3);
    if (classes < 1 || raw[0] != 4 + classes + extra) {
        throw wrong("needs [1, 4 + " + std::to_string(classes) + " classes + " + std::to_string(extra) +
                    ", anchors], got " + to_string(output.shape));
    }
    const Index anchors = raw[1];
    const Floats scores = best_scores(output, classes, anchors);
    Found found;
    found.candidates.boxes = Matrix(0, 4);
    found.extra = Matrix(0, extra);
    for (Index anchor = 0; anchor < anchors; ++anchor) {
        const float score = scores[static_cast<std::size_t>(anchor)];
        if (!(score > static_cast<float>(confidence))) continue;
        const float* column = output.values.data() + anchor;
        found.candidates.scores.push_back(score);
        found.candidates.classes.push_back(argmax(column + 4 * anchors, classes, anchors));
        for (Index i = 0; i < 4; ++i) found.candidates.boxes.values.push_back(column[i * anchors]);
        for (Index i = 0; i < extra; ++i) found.extra.values.push_back(column[(4 + classes + i) * anchors]);
    }
    found.candidates.boxes.rows = found.extra.rows = static_cast<Index>(found.candidates.scores.size());
    return found;
}

Found rows_above(const Array& output, Index extra, double confidence) {
    const Shape raw = single(output, 3);
    if (raw[1] != 6 + extra) {
        throw wrong("needs [1, K, 6 + " + std::to_string(extra) + "], got " + to_string(output.shape));
    }
    Found found;
    found.candidates.boxes = Matrix(0, 4);
    found.extra = Matrix(0, extra);
    for (Index i = 0; i < raw[0]; ++i) {
        const float* row = output.values.data() + i * raw[1];
        if (!(row[4] > static_cast<float>(confidence))) continue;
        found.candidates.boxes.values.insert(found.candidates.boxes.values.end(), row, row + 4);
        found.candidates.scores.push_back(row[4]);
        found.candidates.classes.push_back(class_of(row[5]));
        found.extra.values.insert(found.extra.values.end(), row + 6, row + 6 + extra);
    }
    found.candidates.boxes.rows = found.extra.rows = static_cast<Index>(found.candidates.scores.size());
    return found;
}

Index numbers(const Model& model) {
    const KeypointShape shape = model.keypoint_shape.value_or(KeypointShape{});
    return shape.points * shape.numbers;
}

Candidates with_corners(Candidates candidates) {
    corners(candidates.boxes);
    return candidates;
}

Candidates with_keypoints(Found found, const Model& model) {
    const KeypointShape shape = model.keypoint_shape.value_or(KeypointShape{});
    Matrix points(found.extra.rows, 3 * shape.points);
    std::fill(points.values.begin(), points.values.end(), 1.0f);
    for (Index i = 0; i < points.rows * shape.points; ++i) {
        std::copy_n(found.extra.values.begin() + i * shape.numbers, shape.numbers, points.values.begin() + i * 3);
    }
    found.candidates.keypoints = std::move(points);
    return std::move(found.candidates);
}

Candidates with_angle(Found found) {
    Matrix boxes(found.extra.rows, 5);
    for (Index i = 0; i < boxes.rows; ++i) {
        std::copy_n(found.candidates.boxes.row(i), 4, boxes.row(i));
        boxes.row(i)[4] = found.extra.row(i)[0];
    }
    found.candidates.boxes = std::move(boxes);
    return std::move(found.candidates);
}

Candidates with_masks(Found found, Planes prototypes) {
    found.candidates.coefficients = std::move(found.extra);
    found.candidates.prototypes = std::move(prototypes);
    return std::move(found.candidates);
}

}  // namespace

Candidates yolo_v8(const Raw& outputs, const Model&, double confidence) {
    const Shape& shape = outputs[0]->shape;
    const Index rows = shape.size() == 3 ? shape[1] - 4 : 0;
    return with_corners(anchors_above(*outputs[0], std::max<Index>(rows, 1), 0, confidence).candidates);
}

Candidates yolo_v8_segment(const Raw& outputs, const Model& model, double confidence) {
    Planes prototypes = planes(*outputs[1]);
    Found found = anchors_above(*outputs[0], model.classes, prototypes.channels, confidence);
    return with_corners(with_masks(std::move(found), std::move(prototypes)));
}

Candidates yolo_v8_pose(const Raw& outputs, const Model& model, double confidence) {
    return with_corners(with_keypoints(anchors_above(*outputs[0], model.classes, numbers(model), confidence), model));
}

Candidates yolo_v8_obb(const Raw& outputs, const Model& model, double confidence) {
    return with_angle(anchors_above(*outputs[0], model.classes, 1, confidence));
}

Candidates yolo_end2end(const Raw& outputs, const Model&, double confidence) {
    return rows_above(*outputs[0], 0, confidence).candidates;
}

Candidates yolo_end2end_segment(const Raw& outputs, const Model&, double confidence) {
    Planes prototypes = planes(*outputs[1]);
    Found found = rows_above(*outputs[0], prototypes.channels, confidence);
    return with_masks(std::move(found), std::move(prototypes));
}

Candidates yolo_end2end_pose(const Raw& outputs, const Model& model, double confidence) {
    return with_keypoints(rows_above(*outputs[0], numbers(model), confidence), model);
}

Candidates yolo_end2end_obb(const Raw& outputs, const Model&, double confidence) {
    return with_angle(rows_above(*outputs[0], 1, confidence));
}

}  // namespace modelport
