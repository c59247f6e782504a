#include "processing/rotated.h"

#include <cmath>

#include "processing/nms.h"

namespace modelport::rotated {

namespace {

constexpr float EPSILON = 1e-7f;

}  // namespace

std::vector<Index> suppress(const Matrix& boxes, const Floats& scores, const std::vector<Index>& classes, double iou,
                            Index limit, bool agnostic) {
    const float threshold = static_cast<float>(iou);
    std::vector<Index> kept;
    std::vector<Gaussian> better;
    for (const Index candidate : candidates(scores)) {
        if (static_cast<Index>(kept.size()) >= limit) break;
        Gaussian box = covariance(boxes.row(candidate));
        if (!agnostic) {
            const float offset = static_cast<float>(classes[static_cast<std::size_t>(candidate)]) * CLASS_OFFSET;
            box.x += offset;
            box.y += offset;
        }
        bool is_free = true;
        for (std::size_t i = 0; i < better.size() && is_free; ++i) is_free = !(overlap(better[i], box) > threshold);
        better.push_back(box);
        if (is_free) kept.push_back(candidate);
    }
    return kept;
}

Gaussian covariance(const float* box) {
    const float w = box[2] * box[2] / 12.0f, h = box[3] * box[3] / 12.0f;
    const float cosine = std::cos(box[4]), sine = std::sin(box[4]);
    return {box[0], box[1], w * (cosine * cosine) + h * (sine * sine), w * (sine * sine) + h * (cosine * cosine),
            (w - h) * cosine * sine};
}

float overlap(const Gaussian& one, const Gaussian& other) {
    const float dx = other.x - one.x, dy = one.y - other.y;
    const float wide = one.a + other.a, high = one.b + other.b, mixed = one.c + other.c;
    const float spread = wide * high - mixed * mixed;
    const float near = (wide * (dy * dy) + high * (dx * dx)) / (spread + EPSILON) * 0.25f;
    const float turned = (mixed * dx * dy) / (spread + EPSILON) * 0.5f;
    const float own = maximum(one.a * one.b - one.c * one.c, 0.0f) * maximum(other.a * other.b - other.c * other.c, 0.0f);
    const float shape = std::log(spread / (4.0f * std::sqrt(own) + EPSILON) + EPSILON) * 0.5f;
    const float distance = clip(near + turned + shape, EPSILON, 100.0f);
    return 1.0f - std::sqrt(1.0f - std::exp(-distance) + EPSILON);
}

Matrix enclosing(const Matrix& boxes) {
    Matrix made(boxes.rows, 4);
    for (Index i = 0; i < boxes.rows; ++i) {
        const auto points = corners(boxes.row(i));
        float* box = made.row(i);
        for (std::size_t axis = 0; axis < 2; ++axis) {
            box[axis] = box[axis + 2] = points[0][axis];
            for (const auto& point : points) {
                box[axis] = minimum(box[axis], point[axis]);
                box[axis + 2] = maximum(box[axis + 2], point[axis]);
            }
        }
    }
    return made;
}

std::array<std::array<float, 2>, 4> corners(const float* box) {
    const float cosine = std::cos(box[4]), sine = std::sin(box[4]);
    const float width = box[2] / 2.0f, height = box[3] / 2.0f;
    const float along[2] = {width * cosine, width * sine}, beside[2] = {-height * sine, height * cosine};
    std::array<std::array<float, 2>, 4> made{};
    for (std::size_t axis = 0; axis < 2; ++axis) {
        made[0][axis] = box[axis] + along[axis] + beside[axis];
        made[1][axis] = box[axis] + along[axis] - beside[axis];
        made[2][axis] = box[axis] - along[axis] - beside[axis];
        made[3][axis] = box[axis] - along[axis] + beside[axis];
    }
    return made;
}

}  // namespace modelport::rotated
