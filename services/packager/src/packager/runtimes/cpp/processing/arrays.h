/// Values that the stages hand to each other, and numpy's comparisons, which let NaN through instead of hiding it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace modelport {

using Index = std::ptrdiff_t;
using Shape = std::vector<Index>;
using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;

/// Pixels, height first as in numpy.
struct Size {
    Index height = 0;
    Index width = 0;

    friend bool operator==(const Size& a, const Size& b) { return a.height == b.height && a.width == b.width; }
    friend bool operator!=(const Size& a, const Size& b) { return !(a == b); }
};

/// RGB pixels of somebody else, rows from the top; `row_bytes` from one row to the next, 0 for rows without a gap.
/// A picture of OpenCV's is BGR: turn it round first (cv::cvtColor).
struct PictureView {
    const std::uint8_t* pixels = nullptr;
    Index height = 0;
    Index width = 0;
    Index row_bytes = 0;

    Size size() const { return {height, width}; }
    const std::uint8_t* row(Index y) const { return pixels + y * (row_bytes != 0 ? row_bytes : width * 3); }
};

/// RGB pixels, uint8 [height, width, 3].
struct Picture {
    Index height = 0;
    Index width = 0;
    Bytes pixels;

    Picture() = default;
    explicit Picture(Size size, std::uint8_t fill = 0)
        : height(size.height), width(size.width), pixels(static_cast<std::size_t>(size.height * size.width * 3), fill) {}

    Size size() const { return {height, width}; }
    std::uint8_t* row(Index y) { return pixels.data() + y * width * 3; }
    const std::uint8_t* row(Index y) const { return pixels.data() + y * width * 3; }
    operator PictureView() const { return {pixels.data(), height, width, 0}; }  // NOLINT: a picture is a view of itself
};

/// What goes into a model: float32, or uint8 where the graph normalises.
struct Tensor {
    Shape shape;
    std::variant<Floats, Bytes> values;

    bool is_bytes() const { return std::holds_alternative<Bytes>(values); }
};

/// What comes out of a model, float32 whatever the model's own type is.
struct Array {
    Shape shape;
    Floats values;
};

using Outputs = std::map<std::string, Array>;

/// Float32 [channels, height, width].
struct Planes {
    Index channels = 0;
    Index height = 0;
    Index width = 0;
    Floats values;

    Planes() = default;
    Planes(Index channels_, Index height_, Index width_)
        : channels(channels_), height(height_), width(width_),
          values(static_cast<std::size_t>(channels_ * height_ * width_)) {}

    float* row(Index channel, Index y) { return values.data() + (channel * height + y) * width; }
    const float* row(Index channel, Index y) const { return values.data() + (channel * height + y) * width; }
};

/// Float32 [rows, columns].
struct Matrix {
    Index rows = 0;
    Index columns = 0;
    Floats values;

    Matrix() = default;
    Matrix(Index rows_, Index columns_)
        : rows(rows_), columns(columns_), values(static_cast<std::size_t>(rows_ * columns_)) {}

    float* row(Index i) { return values.data() + i * columns; }
    const float* row(Index i) const { return values.data() + i * columns; }
};

/// The smaller one, or NaN if either is.
inline float minimum(float a, float b) { return std::isnan(a) || a < b ? a : b; }

/// The larger one, or NaN if either is.
inline float maximum(float a, float b) { return std::isnan(a) || a > b ? a : b; }

inline float clip(float value, float low, float high) { return minimum(maximum(value, low), high); }

/// To the nearest integer, ties to even, as Python's round().
inline Index rounded(double value) { return static_cast<Index>(std::nearbyint(value)); }

/// Where the largest value is: the first of equal ones, and before all others the first NaN.
Index argmax(const float* values, Index count, Index stride = 1);

/// Indices that sort scores from the best to the worst: equal ones keep their order, NaN comes last.
std::vector<Index> best_first(const Floats& scores);

/// How many values a shape holds; -1 where an axis is negative or there are more than memory could hold.
Index elements(const Shape& shape);

/// `(1, 84, 8400)`.
std::string to_string(const Shape& shape);

}  // namespace modelport
