/// A mask as run lengths, which is how predictions carry it: small, exact, and of a bounded size.
#pragma once

#include <vector>

#include "processing/arrays.h"

namespace modelport {

/// Pixels of a picture, COCO's uncompressed run lengths: `counts` go down the columns, left to right, and begin with the
/// number of pixels outside.
struct Mask {
    Size size;
    std::vector<Index> counts;

    /// One byte a pixel, 1 inside and 0 outside, rows from the top: [height, width].
    /// Throws AnswerError where the counts do not add up to the size.
    Bytes pixels() const;

    /// How many pixels are inside.
    Index area() const;
};

/// The mask of a picture of `size` whose pixels lie in `region`, one byte each, [h, w], which begins at (top, left).
Mask encode(const Bytes& region, Size region_size, Index top, Index left, Size size);

/// Of pixels from `starts` to before `ends`, counted down the columns, ascending; runs that touch become one.
Mask from_runs(const std::vector<Index>& starts, const std::vector<Index>& ends, Size size);

/// Throws AnswerError where so many runs would be too large an answer.
void check_runs(Index number);

}  // namespace modelport
