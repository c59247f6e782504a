#include "processing/geometry.h"

#include <algorithm>
#include <cmath>

#include "processing/errors.h"
#include "processing/kernels.h"

namespace modelport {

namespace {

/// Of the resized picture before the cut: a strip one pixel high would otherwise become gigabytes.
constexpr Index MAX_RESIZED_PIXELS = Index{1} << 25;
/// What torchvision's CenterCrop pads with where the picture is smaller than the cut.
constexpr std::uint8_t CROP_FILL = 0;

double as_double(Index value) { return static_cast<double>(value); }
float as_float(Index value) { return static_cast<float>(value); }

Index cut_offset(Index want, Index have, double (*rounding)(double)) {
    if (want > have) return (want - have) / 2;
    return -static_cast<Index>(rounding(as_double(have - want) / 2.0));
}

Placement centre_cut(const Resize& spec, Size resized) {
    double (*const rounding)(double) = crop_offsets().at(spec.crop_offset);
    return {resized, cut_offset(spec.size.height, resized.height, rounding),
            cut_offset(spec.size.width, resized.width, rounding), CROP_FILL};
}

Picture place(Picture image, Size size, const Placement& placement) {
    if (placement.top == 0 && placement.left == 0 && image.size() == size) return image;
    Picture canvas(size, placement.fill);
    const Index from_y = std::max<Index>(-placement.top, 0), to_y = std::max<Index>(placement.top, 0);
    const Index from_x = std::max<Index>(-placement.left, 0), to_x = std::max<Index>(placement.left, 0);
    const Index rows = std::min(image.height - from_y, size.height - to_y);
    const Index columns = std::min(image.width - from_x, size.width - to_x);
    for (Index y = 0; y < rows; ++y) {
        std::copy_n(image.row(from_y + y) + 3 * from_x, 3 * columns, canvas.row(to_y + y) + 3 * to_x);
    }
    return canvas;
}

}  // namespace

Matrix Geometry::to_source(Matrix boxes) const {
    const float offset[2] = {as_float(left), as_float(top)};
    const float gain[2] = {static_cast<float>(gain_x), static_cast<float>(gain_y)};
    const float limit[2] = {as_float(source.width), as_float(source.height)};
    for (std::size_t i = 0; i < boxes.values.size(); ++i) {
        float& value = boxes.values[i];
        value = clip((value - offset[i % 2]) / gain[i % 2], 0.0f, limit[i % 2]);
    }
    return boxes;
}

Matrix Geometry::points_to_source(Matrix points) const {
    for (std::size_t i = 0; i + 2 < points.values.size(); i += 3) {
        float& x = points.values[i];
        float& y = points.values[i + 1];
        x = clip((x - as_float(left)) / static_cast<float>(gain_x), 0.0f, as_float(source.width));
        y = clip((y - as_float(top)) / static_cast<float>(gain_y), 0.0f, as_float(source.height));
    }
    return points;
}

Matrix Geometry::rotated_to_source(Matrix boxes) const {
    const float across = static_cast<float>(gain_x), down = static_cast<float>(gain_y);
    for (Index i = 0; i < boxes.rows; ++i) {
        float* box = boxes.row(i);
        box[0] = (box[0] - as_float(left)) / across;
        box[1] = (box[1] - as_float(top)) / down;
        box[2] /= across;
        box[3] /= down;
    }
    return boxes;
}

Placement letterbox(const Resize& spec, Size source) {
    double ratio = std::min(as_double(spec.size.height) / as_double(source.height),
                            as_double(spec.size.width) / as_double(source.width));
    if (!spec.scale_up) ratio = std::min(ratio, 1.0);
    const Size resized{std::max<Index>(rounded(as_double(source.height) * ratio), 1),
                       std::max<Index>(rounded(as_double(source.width) * ratio), 1)};
    if (!spec.center) return {resized, 0, 0, spec.fill_value};
    return {resized, rounded(as_double(spec.size.height - resized.height) / 2 - 0.1),
            rounded(as_double(spec.size.width - resized.width) / 2 - 0.1), spec.fill_value};
}

Placement stretch(const Resize& spec, Size) { return {spec.size, 0, 0, CROP_FILL}; }

Placement short_side_crop(const Resize& spec, Size source) {
    const Index target = spec.resize_to.value_or(spec.size).height;
    const bool is_wide = source.height <= source.width;
    const Index longer = is_wide ? source.width : source.height, shorter = is_wide ? source.height : source.width;
    const Index side = static_cast<Index>(as_double(target * longer) / as_double(shorter));
    return centre_cut(spec, is_wide ? Size{target, side} : Size{side, target});
}

Placement stretch_crop(const Resize& spec, Size) { return centre_cut(spec, spec.resize_to.value_or(spec.size)); }

const std::map<std::string, Method>& methods() {
    static const std::map<std::string, Method> table{
        {"letterbox", letterbox},
        {"stretch", stretch},
        {"short_side_crop", short_side_crop},
        {"stretch_crop", stretch_crop},
    };
    return table;
}

const std::map<std::string, double (*)(double)>& crop_offsets() {
    static const std::map<std::string, double (*)(double)> table{
        {"round", [](double value) { return std::nearbyint(value); }},
        {"truncate", [](double value) { return std::trunc(value); }},
    };
    return table;
}

std::pair<Placement, Geometry> locate(Size source, const Resize& spec) {
    if (source.height < 1 || source.width < 1) throw ImageError("image_unreadable", "the picture has no pixels");
    const Placement placement = methods().at(spec.method)(spec, source);
    const Size resized = placement.resized;
    if (resized.height > MAX_RESIZED_PIXELS / resized.width) {
        const std::string size = std::to_string(source.width) + " x " + std::to_string(source.height);
        throw ImageError("image_too_large", "the picture of " + size + " pixels is too long and thin");
    }
    return {placement, Geometry{source, as_double(resized.height) / as_double(source.height),
                                as_double(resized.width) / as_double(source.width), placement.top, placement.left}};
}

std::pair<Picture, Geometry> fit(const PictureView& image, const Resize& spec) {
    const auto [placement, geometry] = locate(image.size(), spec);
    return {place(resize(image, placement.resized, spec.kernel), spec.size, placement), geometry};
}

}  // namespace modelport
