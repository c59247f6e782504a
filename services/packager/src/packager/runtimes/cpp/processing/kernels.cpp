#include "processing/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "processing/errors.h"

namespace modelport {

namespace {

constexpr double PI = 3.14159265358979323846;
constexpr int PIL_BITS = 22;

std::uint8_t saturated(std::int32_t value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

/// Of each output index: both neighbours in the input, and their weights in 1/2048.
struct Cv2Taps {
    std::vector<Index> first, second;
    std::vector<std::int32_t> first_weight, second_weight;
};

/// The vertical axis keeps its fraction at the borders.
Cv2Taps cv2_taps(Index source, Index target, bool clamp_fraction) {
    Cv2Taps taps;
    const double scale = 1.0 / (static_cast<double>(target) / static_cast<double>(source));
    for (Index i = 0; i < target; ++i) {
        const float position = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
        const float whole = std::floor(position);
        const Index first = static_cast<Index>(whole);
        float fraction = position - whole;
        if (clamp_fraction && (first < 0 || first >= source - 1)) fraction = 0.0f;
        taps.first.push_back(std::clamp<Index>(first, 0, source - 1));
        // At the right border of the clamped axis the second neighbour weighs nothing.
        taps.second.push_back(std::clamp<Index>(first + 1, 0, source - 1));
        taps.first_weight.push_back(static_cast<std::int32_t>(std::nearbyint((1.0f - fraction) * 2048.0f)));
        taps.second_weight.push_back(static_cast<std::int32_t>(std::nearbyint(fraction * 2048.0f)));
    }
    return taps;
}

Picture half(const PictureView& image, Size size) {
    Picture made(size);
    for (Index y = 0; y < size.height; ++y) {
        const std::uint8_t* upper = image.row(2 * y);
        const std::uint8_t* lower = image.row(2 * y + 1);
        std::uint8_t* out = made.row(y);
        for (Index x = 0; x < size.width; ++x) {
            for (Index c = 0; c < 3; ++c) {
                const Index at = 6 * x + c;
                out[3 * x + c] = static_cast<std::uint8_t>((upper[at] + upper[at + 3] + lower[at] + lower[at + 3] + 2) >> 2);
            }
        }
    }
    return made;
}

/// One row resampled along x, in 1/128.
void across(const std::uint8_t* row, const Cv2Taps& taps, std::vector<std::int32_t>& out) {
    for (std::size_t x = 0; x < taps.first.size(); ++x) {
        for (std::size_t c = 0; c < 3; ++c) {
            const std::int32_t left = row[static_cast<std::size_t>(taps.first[x]) * 3 + c];
            const std::int32_t right = row[static_cast<std::size_t>(taps.second[x]) * 3 + c];
            out[3 * x + c] = (left * taps.first_weight[x] + right * taps.second_weight[x]) >> 4;
        }
    }
}

/// Integer weights of a window of inputs for each output index; `start` counts from the axis' begin, `at` in `weights`.
struct PilTaps {
    std::vector<Index> start, count, at;
    std::vector<std::int32_t> weights;
};

struct PilFilter {
    double (*function)(double);
    double radius;
};

double triangle(double x) { return std::max(1.0 - std::abs(x), 0.0); }

double cubic(double x) {
    const double a = -0.5;
    x = std::abs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

double sinc(double x) {
    const double angle = PI * (x == 0.0 ? 1.0e-20 : x);
    return std::sin(angle) / angle;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

constexpr PilFilter BILINEAR{triangle, 1.0}, BICUBIC{cubic, 2.0}, LANCZOS{lanczos, 3.0};

PilTaps pil_taps(Index source, Index target, const PilFilter& filter) {
    PilTaps taps;
    const double scale = static_cast<double>(source) / static_cast<double>(target);
    const double filter_scale = std::max(scale, 1.0);
    const double support = filter.radius * filter_scale;
    std::vector<double> window;
    for (Index i = 0; i < target; ++i) {
        const double centre = (static_cast<double>(i) + 0.5) * scale;
        const Index start = std::max<Index>(static_cast<Index>(centre - support + 0.5), 0);
        const Index end = std::min(static_cast<Index>(centre + support + 0.5), source);
        window.clear();
        double sum = 0.0;
        for (Index tap = start; tap < end; ++tap) {
            window.push_back(filter.function((static_cast<double>(tap) - centre + 0.5) * (1.0 / filter_scale)));
            sum += window.back();
        }
        taps.start.push_back(start);
        taps.count.push_back(end - start);
        taps.at.push_back(static_cast<Index>(taps.weights.size()));
        for (const double weight : window) {
            const double fixed = weight / sum * static_cast<double>(1 << PIL_BITS);
            taps.weights.push_back(static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
        }
    }
    return taps;
}

Picture pil_across(const PictureView& image, Index width, const PilFilter& filter) {
    const PilTaps taps = pil_taps(image.width, width, filter);
    Picture made(Size{image.height, width});
    for (Index y = 0; y < image.height; ++y) {
        const std::uint8_t* row = image.row(y);
        std::uint8_t* out = made.row(y);
        for (std::size_t x = 0; x < taps.start.size(); ++x) {
            const std::int32_t* weights = taps.weights.data() + taps.at[x];
            const std::uint8_t* pixel = row + 3 * taps.start[x];
            std::int32_t total[3] = {1 << (PIL_BITS - 1), 1 << (PIL_BITS - 1), 1 << (PIL_BITS - 1)};
            for (Index tap = 0; tap < taps.count[x]; ++tap, pixel += 3) {
                for (int c = 0; c < 3; ++c) total[c] += pixel[c] * weights[tap];
            }
            for (int c = 0; c < 3; ++c) *out++ = saturated(total[c] >> PIL_BITS);
        }
    }
    return made;
}

Picture pil_down(const PictureView& image, Index height, const PilFilter& filter) {
    const PilTaps taps = pil_taps(image.height, height, filter);
    Picture made(Size{height, image.width});
    std::vector<std::int32_t> total(static_cast<std::size_t>(image.width * 3));
    for (std::size_t y = 0; y < taps.start.size(); ++y) {
        std::fill(total.begin(), total.end(), 1 << (PIL_BITS - 1));
        for (Index tap = 0; tap < taps.count[y]; ++tap) {
            const std::int32_t weight = taps.weights[static_cast<std::size_t>(taps.at[y] + tap)];
            const std::uint8_t* row = image.row(taps.start[y] + tap);
            for (std::size_t i = 0; i < total.size(); ++i) total[i] += row[i] * weight;
        }
        std::uint8_t* out = made.row(static_cast<Index>(y));
        for (const std::int32_t value : total) *out++ = saturated(value >> PIL_BITS);
    }
    return made;
}

/// Horizontal first, as ever; since Pillow 13 vertical first where the height shrinks by more than twice what the width does.
Picture pil_convolution(const PictureView& image, Size size, const PilFilter& filter) {
    const bool down_first = image.height > size.height && image.height - size.height > 2 * (image.width - size.width);
    Picture made;
    PictureView now = image;
    for (const bool is_down : {down_first, !down_first}) {
        if (is_down ? now.height == size.height : now.width == size.width) continue;
        made = is_down ? pil_down(now, size.height, filter) : pil_across(now, size.width, filter);
        now = made;
    }
    return made.pixels.empty() ? copy(image) : made;
}

std::vector<Index> pil_steps(Index source, Index target) {
    std::vector<Index> steps;
    const double step = static_cast<double>(source) / static_cast<double>(target);
    double position = step * 0.5;
    for (Index i = 0; i < target; ++i, position += step) steps.push_back(std::min(static_cast<Index>(position), source - 1));
    return steps;
}

}  // namespace

Picture cv2_linear_u8(const PictureView& image, Size size) {
    if (image.height == 2 * size.height && image.width == 2 * size.width) return half(image, size);
    const Cv2Taps columns = cv2_taps(image.width, size.width, true);
    const Cv2Taps rows = cv2_taps(image.height, size.height, false);
    Picture made(size);
    const std::size_t wide = static_cast<std::size_t>(size.width * 3);
    std::vector<std::int32_t> upper(wide), lower(wide);
    Index upper_row = -1, lower_row = -1;
    for (std::size_t y = 0; y < rows.first.size(); ++y) {
        if (rows.first[y] == lower_row) {
            std::swap(upper, lower);
            std::swap(upper_row, lower_row);
        }
        if (rows.first[y] != upper_row) across(image.row(upper_row = rows.first[y]), columns, upper);
        if (rows.second[y] != lower_row) across(image.row(lower_row = rows.second[y]), columns, lower);
        std::uint8_t* out = made.row(static_cast<Index>(y));
        const std::int32_t b0 = rows.first_weight[y], b1 = rows.second_weight[y];
        for (std::size_t i = 0; i < wide; ++i) {
            out[i] = saturated((((b0 * upper[i]) >> 16) + ((b1 * lower[i]) >> 16) + 2) >> 2);
        }
    }
    return made;
}

Picture pil_nearest(const PictureView& image, Size size) {
    const std::vector<Index> rows = pil_steps(image.height, size.height), columns = pil_steps(image.width, size.width);
    Picture made(size);
    for (Index y = 0; y < size.height; ++y) {
        const std::uint8_t* row = image.row(rows[static_cast<std::size_t>(y)]);
        std::uint8_t* out = made.row(y);
        for (const Index x : columns) out = std::copy_n(row + 3 * x, 3, out);
    }
    return made;
}

Picture pil_bilinear(const PictureView& image, Size size) { return pil_convolution(image, size, BILINEAR); }
Picture pil_bicubic(const PictureView& image, Size size) { return pil_convolution(image, size, BICUBIC); }
Picture pil_lanczos(const PictureView& image, Size size) { return pil_convolution(image, size, LANCZOS); }

const std::map<std::string, Kernel>& kernels() {
    static const std::map<std::string, Kernel> table{
        {"cv2_linear_u8", cv2_linear_u8}, {"pil_nearest", pil_nearest}, {"pil_bilinear", pil_bilinear},
        {"pil_bicubic", pil_bicubic},     {"pil_lanczos", pil_lanczos},
    };
    return table;
}

Picture resize(const PictureView& image, Size size, const std::string& kernel) {
    const auto found = kernels().find(kernel);
    if (found == kernels().end()) throw MetadataError("preprocessing.resize.kernel", "\"" + kernel + "\" is unknown");
    return image.size() == size ? copy(image) : found->second(image, size);
}

Picture copy(const PictureView& image) {
    Picture made(image.size());
    for (Index y = 0; y < image.height; ++y) std::copy_n(image.row(y), image.width * 3, made.row(y));
    return made;
}

}  // namespace modelport
