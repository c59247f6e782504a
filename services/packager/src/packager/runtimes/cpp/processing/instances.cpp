#include "processing/instances.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "processing/bilinear.h"
#include "processing/errors.h"

namespace modelport {

namespace {

/// Of the boxes of one picture together.
constexpr Index MAX_MASK_PIXELS = Index{1} << 31;
constexpr Index STRIP = Index{1} << 18;
/// Input pixels to one of a prototype, along each axis.
constexpr Index STRIDE = 4;

/// Size of the picture inside the prototypes enlarged by `factor`.
Size content(Size prototypes, Size source, Index factor) {
    const double height = static_cast<double>(source.height), width = static_cast<double>(source.width);
    const double gain = std::min(static_cast<double>(factor * prototypes.height) / height,
                                 static_cast<double>(factor * prototypes.width) / width);
    return {std::max<Index>(rounded(height * gain), 1), std::max<Index>(rounded(width * gain), 1)};
}

/// How the prototypes lie over the picture: first enlarged, then cut at the offset, then resampled.
struct Grid {
    Size source;
    Index top, left;
    Taps enlarged_rows, enlarged_columns;
    Taps resampled_rows, resampled_columns;
};

/// The letterbox is the centred one, the prototypes a quarter of the input along each side.
Grid grid_of(Size prototypes, Size source) {
    const Size quarter = content(prototypes, source, STRIDE);
    const Index bits = (STRIDE * prototypes.height - quarter.height) | (STRIDE * prototypes.width - quarter.width);
    const Index factor = STRIDE / std::gcd(STRIDE, bits | (bits / 2));
    const Size inside = content(prototypes, source, factor);
    const Size enlarged{factor * prototypes.height, factor * prototypes.width};
    return {source,
            rounded(static_cast<double>(enlarged.height - inside.height) / 2 - 0.1),
            rounded(static_cast<double>(enlarged.width - inside.width) / 2 - 0.1),
            taps(prototypes.height, enlarged.height),
            taps(prototypes.width, enlarged.width),
            taps(inside.height, source.height),
            taps(inside.width, source.width)};
}

struct Area {
    Index top = 0, left = 0, bottom = 0, right = 0;

    Index height() const { return std::max<Index>(bottom - top, 0); }
    Index width() const { return std::max<Index>(right - left, 0); }
};

/// The first index that is not before an edge, within the picture.
Index edge(float value, Index limit) {
    return static_cast<Index>(std::ceil(std::clamp(static_cast<double>(value), 0.0, static_cast<double>(limit))));
}

/// Pixels whose index is at least the box's first edge and below its last.
Area region_of(const float* box, Size source) {
    if (!std::all_of(box, box + 4, [](float value) { return std::isfinite(value); })) return {};
    return {edge(box[1], source.height), edge(box[0], source.width), edge(box[3], source.height), edge(box[2], source.width)};
}

/// The mask's logits over a part of the enlarged prototypes.
Planes enlarged_logits(const float* coefficients, const Planes& prototypes, const Taps& rows, const Taps& columns) {
    const auto [top, bottom] = rows.span();
    const auto [left, right] = columns.span();
    Planes logits(1, bottom - top, right - left);
    for (Index channel = 0; channel < prototypes.channels; ++channel) {
        for (Index y = top; y < bottom; ++y) {
            const float* from = prototypes.row(channel, y) + left;
            float* to = logits.row(0, y - top);
            for (Index x = 0; x < logits.width; ++x) to[x] += coefficients[channel] * from[x];
        }
    }
    return resample(logits, rows.moved(top), columns.moved(left));
}

std::optional<Mask> mask_of(const float* coefficients, const Planes& prototypes, const Area& region, const Grid& grid) {
    if (region.height() == 0 || region.width() == 0) return std::nullopt;
    const Taps rows = grid.resampled_rows.part(region.top, region.bottom);
    const Taps columns = grid.resampled_columns.part(region.left, region.right);
    const auto [first_row, last_row] = rows.span();
    const auto [first_column, last_column] = columns.span();
    const Planes enlarged = enlarged_logits(coefficients, prototypes,
                                            grid.enlarged_rows.part(grid.top + first_row, grid.top + last_row),
                                            grid.enlarged_columns.part(grid.left + first_column, grid.left + last_column));
    const Planes wide = across(enlarged, columns.moved(first_column), 0, enlarged.height);
    const Taps moved = rows.moved(first_row);
    Bytes inside;
    inside.reserve(static_cast<std::size_t>(region.height() * region.width()));
    const Index step = std::max<Index>(STRIP / region.width(), 1);
    for (Index start = 0; start < region.height(); start += step) {
        for (const float value : down(wide, moved.part(start, start + step)).values) inside.push_back(value > 0.0f ? 1 : 0);
    }
    if (std::find(inside.begin(), inside.end(), 1) == inside.end()) return std::nullopt;
    return encode(inside, {region.height(), region.width()}, region.top, region.left, grid.source);
}

}  // namespace

std::vector<std::optional<Mask>> instance_masks(const Matrix& coefficients, const Planes& prototypes,
                                                const Matrix& boxes, Size source) {
    std::vector<Area> regions;
    Index pixels = 0;
    for (Index i = 0; i < boxes.rows; ++i) {
        regions.push_back(region_of(boxes.row(i), source));
        pixels += regions.back().height() * regions.back().width();
    }
    if (pixels > MAX_MASK_PIXELS) {
        throw AnswerError("the masks of this picture cover more than " + std::to_string(MAX_MASK_PIXELS) +
                          " pixels; a lower max_detections helps");
    }
    const Grid grid = grid_of({prototypes.height, prototypes.width}, source);
    std::vector<std::optional<Mask>> made;
    Index runs = 0;
    for (Index i = 0; i < boxes.rows; ++i) {
        made.push_back(mask_of(coefficients.row(i), prototypes, regions[static_cast<std::size_t>(i)], grid));
        runs += made.back() ? static_cast<Index>(made.back()->counts.size()) : 0;
        check_runs(runs);
    }
    return made;
}

}  // namespace modelport
