/// Masks of objects: coefficients times prototypes, cut out of the letterbox, at the picture's own size, inside the box.
///
/// Equal to Ultralytics' `process_mask_native` (`retina_masks=True`) up to the rounding of float32; made one at a time
/// and only over the box, so that memory is that of one box.
#pragma once

#include <optional>
#include <vector>

#include "processing/arrays.h"
#include "processing/masks.h"

namespace modelport {

/// One mask for each row of `coefficients` [N, M] and `boxes` [N, 4] (source pixels), none where it is empty.
/// `prototypes` has M channels. Throws AnswerError where all masks together are too large.
std::vector<std::optional<Mask>> instance_masks(const Matrix& coefficients, const Planes& prototypes,
                                                const Matrix& boxes, Size source);

}  // namespace modelport
