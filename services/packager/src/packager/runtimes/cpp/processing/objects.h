/// Candidates to objects: which are kept, and how what belongs to them gets back into the picture.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "processing/decoders/base.h"
#include "processing/geometry.h"
#include "processing/predictions.h"

namespace modelport {

/// Indices to keep, best first, at most `limit`; nothing is suppressed without `iou`.
std::vector<Index> choose(const Candidates& found, bool is_rotated, std::optional<double> iou, Index limit, bool agnostic);

/// In source pixels; an object whose mask is empty is none, as the trainer has it.
std::vector<Prediction> predictions(const Candidates& found, const Geometry& geometry,
                                    const std::function<std::string(Index)>& name, bool is_rotated);

}  // namespace modelport
