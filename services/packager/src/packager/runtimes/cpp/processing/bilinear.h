/// Bilinear resampling of float32 planes with half-pixel centres, as torch's `interpolate(align_corners=False)` does it.
///
/// Separable, so that any part of the answer can be computed alone: masks of large pictures are made in pieces and only
/// where they are needed.
#pragma once

#include <vector>

#include "processing/arrays.h"

namespace modelport {

/// Of each output index: both neighbours in the input, and how much the second weighs (0 to 1).
struct Taps {
    struct Span {
        Index first;
        Index last;
    };

    std::vector<Index> first;
    std::vector<Index> second;
    Floats weight;

    Index size() const { return static_cast<Index>(first.size()); }

    /// Those of the outputs from `start` to before `stop`.
    Taps part(Index start, Index stop) const;

    /// First and one past the last input index that is needed; there must be outputs.
    Span span() const { return {first.front(), second.back() + 1}; }

    /// The same where the input lacks its first `by` values.
    Taps moved(Index by) const;
};

/// Of one axis: `(i + 0.5) * source / target - 0.5`, never below 0, in float32.
Taps taps(Index source, Index target);

/// The last axis resampled, of the rows from `top` to before `bottom` alone.
Planes across(const Planes& planes, const Taps& columns, Index top, Index bottom);

/// The last axis but one resampled.
Planes down(const Planes& planes, const Taps& rows);

/// Both, horizontally first, over no more of the input than the taps need.
Planes resample(const Planes& planes, const Taps& rows, const Taps& columns);

}  // namespace modelport
