/// Semantic segmentation: logits resampled to the picture's size, the best class of each pixel, one prediction a class.
///
/// The resampling is that of transformers' `post_process_semantic_segmentation(target_sizes=…)`, done in tiles, so that
/// memory is that of the picture and not that of the picture times the number of classes.
#pragma once

#include <array>
#include <vector>

#include "processing/arrays.h"
#include "processing/masks.h"

namespace modelport {

/// All pixels of one class; `bbox` encloses them, its last edges being one past the last pixel.
struct Region {
    Index class_id = 0;
    double confidence = 0.0;
    std::array<double, 4> bbox{};
    Mask mask;
};

/// The classes of a picture of `source`, largest area first; `logits` has one channel a class.
///
/// `confidence` is the mean, over the pixels of a class, of its softmax probability. Throws AnswerError where classes times
/// pixels are too many, or the classes are so scattered that the masks would be.
std::vector<Region> regions(const Planes& logits, Size source);

}  // namespace modelport
