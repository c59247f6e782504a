/// Resampling, exact to the bit: the same integer arithmetic as OpenCV's and Pillow's.
#pragma once

#include <map>
#include <string>

#include "processing/arrays.h"

namespace modelport {

using Kernel = Picture (*)(const PictureView& image, Size size);

/// OpenCV's INTER_LINEAR on uint8: 11-bit weights, two roundings, and a 2x2 mean at exactly half the size.
Picture cv2_linear_u8(const PictureView& image, Size size);

/// Pillow's nearest neighbour; positions are summed up step by step, as it does.
Picture pil_nearest(const PictureView& image, Size size);

/// Pillow's antialiased resampling: two passes, uint8 in between, 22-bit integer weights.
Picture pil_bilinear(const PictureView& image, Size size);
Picture pil_bicubic(const PictureView& image, Size size);
Picture pil_lanczos(const PictureView& image, Size size);

/// `preprocessing.resize.kernel` of metadata.json.
const std::map<std::string, Kernel>& kernels();

/// Resample to `size`; a copy where nothing changes. Throws MetadataError for an unknown kernel.
Picture resize(const PictureView& image, Size size, const std::string& kernel);

/// The pixels as they are.
Picture copy(const PictureView& image);

}  // namespace modelport
