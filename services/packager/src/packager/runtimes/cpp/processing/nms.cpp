#include "processing/nms.h"

#include <algorithm>

namespace modelport {

namespace {

float area(const float* box) { return (box[2] - box[0]) * (box[3] - box[1]); }

}  // namespace

std::vector<Index> candidates(const Floats& scores) {
    std::vector<Index> order = best_first(scores);
    if (static_cast<Index>(order.size()) > MAX_CANDIDATES) order.resize(MAX_CANDIDATES);
    return order;
}

std::vector<Index> suppress(const Matrix& boxes, const Floats& scores, const std::vector<Index>& classes, double iou,
                            Index limit, bool agnostic) {
    const float threshold = static_cast<float>(iou);
    std::vector<Index> kept;
    Matrix apart(0, 4);
    for (const Index candidate : candidates(scores)) {
        if (static_cast<Index>(kept.size()) >= limit) break;
        const Index group = classes[static_cast<std::size_t>(candidate)];
        const float offset = agnostic ? 0.0f : static_cast<float>(group) * CLASS_OFFSET;
        const float* at = boxes.row(candidate);
        const float box[4] = {at[0] + offset, at[1] + offset, at[2] + offset, at[3] + offset};
        bool is_free = true;
        for (Index i = 0; i < apart.rows && is_free; ++i) is_free = !(overlap(apart.row(i), box) > threshold);
        if (!is_free) continue;
        kept.push_back(candidate);
        apart.values.insert(apart.values.end(), box, box + 4);
        ++apart.rows;
    }
    return kept;
}

float overlap(const float* a, const float* b) {
    const float width = maximum(minimum(a[2], b[2]) - maximum(a[0], b[0]), 0.0f);
    const float height = maximum(minimum(a[3], b[3]) - maximum(a[1], b[1]), 0.0f);
    const float shared = width * height;
    return shared / (area(a) + area(b) - shared);
}

}  // namespace modelport
