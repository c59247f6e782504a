#include "processing/objects.h"

#include "processing/instances.h"
#include "processing/nms.h"
#include "processing/rotated.h"

namespace modelport {

namespace {

template <std::size_t N>
std::array<double, N> doubles(const float* values) {
    std::array<double, N> made{};
    for (std::size_t i = 0; i < N; ++i) made[i] = static_cast<double>(values[i]);
    return made;
}

std::vector<std::array<double, 3>> points_of(const Matrix& points, Index row) {
    std::vector<std::array<double, 3>> made;
    for (Index i = 0; i < points.columns; i += 3) made.push_back(doubles<3>(points.row(row) + i));
    return made;
}

}  // namespace

std::vector<Index> choose(const Candidates& found, bool is_rotated, std::optional<double> iou, Index limit, bool agnostic) {
    if (iou) {
        return (is_rotated ? rotated::suppress : suppress)(found.boxes, found.scores, found.classes, *iou, limit, agnostic);
    }
    std::vector<Index> order = best_first(found.scores);
    if (static_cast<Index>(order.size()) > limit) order.resize(static_cast<std::size_t>(limit));
    return order;
}

std::vector<Prediction> predictions(const Candidates& found, const Geometry& geometry,
                                    const std::function<std::string(Index)>& name, bool is_rotated) {
    const Matrix turned = is_rotated ? geometry.rotated_to_source(found.boxes) : Matrix();
    const Matrix upright = is_rotated ? rotated::enclosing(turned) : geometry.to_source(found.boxes);
    const Matrix points = found.keypoints ? geometry.points_to_source(*found.keypoints) : Matrix();
    std::vector<std::optional<Mask>> masks;
    if (found.coefficients) masks = instance_masks(*found.coefficients, found.prototypes, upright, geometry.source);
    std::vector<Prediction> made;
    for (std::size_t i = 0; i < found.classes.size(); ++i) {
        if (found.coefficients && !masks[i]) continue;
        const Index row = static_cast<Index>(i);
        Prediction prediction;
        prediction.class_id = found.classes[i];
        prediction.class_name = name(found.classes[i]);
        prediction.confidence = static_cast<double>(found.scores[i]);
        prediction.bbox = doubles<4>(upright.row(row));
        if (is_rotated) prediction.rotated_box = doubles<5>(turned.row(row));
        if (found.keypoints) prediction.keypoints = points_of(points, row);
        if (found.coefficients) prediction.mask = std::move(masks[i]);
        made.push_back(std::move(prediction));
    }
    return made;
}

}  // namespace modelport
