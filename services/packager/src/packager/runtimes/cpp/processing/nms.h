/// Greedy non-maximum suppression, class-aware; the order and the float32 arithmetic are the trainer's.
#pragma once

#include <vector>

#include "processing/arrays.h"

namespace modelport {

/// Boxes of different classes are moved this many pixels apart, as Ultralytics does, so that they never overlap.
constexpr float CLASS_OFFSET = 7680.0f;
constexpr Index MAX_CANDIDATES = 30000;

/// Indices of the boxes to keep, best first, at most `limit`.
///
/// `boxes` [N, 4] x1 y1 x2 y2. A box goes if its IoU with a kept, better one of its class is greater than `iou`; equal
/// scores keep their order.
std::vector<Index> suppress(const Matrix& boxes, const Floats& scores, const std::vector<Index>& classes, double iou,
                            Index limit, bool agnostic);

/// Intersection over union of two boxes; an empty pair gives NaN, which suppresses nothing.
float overlap(const float* a, const float* b);

/// The best MAX_CANDIDATES, best first.
std::vector<Index> candidates(const Floats& scores);

}  // namespace modelport
