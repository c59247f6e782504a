/// Rotated boxes cx cy w h angle (radians): their overlap, suppression and corners, with the trainer's float32 arithmetic.
///
/// The overlap is Ultralytics' probabilistic IoU (https://arxiv.org/pdf/2106.06072v1.pdf): boxes are Gaussians, compared
/// by the Hellinger distance. Its suppression differs from the greedy one: a box goes if it overlaps any better box of
/// its class, even one that went itself.
#pragma once

#include <array>
#include <vector>

#include "processing/arrays.h"

namespace modelport::rotated {

/// Indices of the boxes to keep, best first, at most `limit`; `boxes` is [N, 5].
std::vector<Index> suppress(const Matrix& boxes, const Floats& scores, const std::vector<Index>& classes, double iou,
                            Index limit, bool agnostic);

/// The Gaussian [[a, c], [c, b]] around (x, y) that stands for a box.
struct Gaussian {
    float x, y, a, b, c;
};

Gaussian covariance(const float* box);

/// Probabilistic IoU.
float overlap(const Gaussian& one, const Gaussian& other);

/// The upright boxes x1 y1 x2 y2 around rotated ones, [N, 4]; they may reach beyond the picture, as their boxes do.
Matrix enclosing(const Matrix& boxes);

/// The four corners of a box, x y each.
std::array<std::array<float, 2>, 4> corners(const float* box);

}  // namespace modelport::rotated
