/// How a picture of any size lies in the model's input: resize, then cut or pad, and the way back for boxes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "processing/arrays.h"

namespace modelport {

/// `preprocessing.resize` of metadata.json.
struct Resize {
    std::string method;
    Size size;
    std::string kernel;
    std::optional<Size> resize_to;
    std::uint8_t fill_value = 114;
    bool scale_up = true;
    bool center = true;
    std::string crop_offset = "round";
};

/// Per axis: `input = source * gain + offset`; `source` is the picture's size.
struct Geometry {
    Size source;
    double gain_y = 1.0;
    double gain_x = 1.0;
    Index top = 0;
    Index left = 0;

    /// Boxes [N, 4] x1 y1 x2 y2 from input pixels to source pixels, clamped to the picture.
    Matrix to_source(Matrix boxes) const;

    /// Keypoints [N, K * 3] x y confidence from input pixels to source pixels, clamped to the picture.
    Matrix points_to_source(Matrix points) const;

    /// Rotated boxes [N, 5] cx cy w h angle to source pixels; not clamped, as they could not keep their shape.
    Matrix rotated_to_source(Matrix boxes) const;
};

/// The resized picture's size, and where its top left corner lies in the input; negative cuts.
struct Placement {
    Size resized;
    Index top = 0;
    Index left = 0;
    std::uint8_t fill = 0;
};

using Method = Placement (*)(const Resize& spec, Size source);

/// Keep the aspect ratio, pad the rest; the rounding is that of Ultralytics.
Placement letterbox(const Resize& spec, Size source);
/// Both sides to the input size.
Placement stretch(const Resize& spec, Size source);
/// Short side to `resize_to`, the long side truncated, then the centre; as torchvision's Resize(int) and CenterCrop.
Placement short_side_crop(const Resize& spec, Size source);
/// Both sides to `resize_to`, then the centre.
Placement stretch_crop(const Resize& spec, Size source);

/// `preprocessing.resize.method` of metadata.json.
const std::map<std::string, Method>& methods();

/// `preprocessing.resize.crop_offset`: torchvision rounds half a pixel to even, Hugging Face cuts it off.
const std::map<std::string, double (*)(double)>& crop_offsets();

/// Where a picture of `source` lies in the input, and the way back.
/// Throws ImageError `image_too_large` for a picture so long and thin that its resized form would be giant.
std::pair<Placement, Geometry> locate(Size source, const Resize& spec);

/// The picture at the model's input size, and its geometry; throws as `locate` does.
std::pair<Picture, Geometry> fit(const PictureView& image, const Resize& spec);

}  // namespace modelport
