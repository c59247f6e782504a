/// Picture files to RGB pixels: bounded before decoding, whole, upright.
///
/// PNG and BMP become the same bytes as in Python; of a JPEG some pixels differ by up to three levels, because decoders round
/// differently.
#pragma once

#include <filesystem>

#include "processing/arrays.h"

namespace modelport {

/// A JPEG, PNG or BMP file to RGB pixels, EXIF orientation applied where asked for.
///
/// Gray is repeated, alpha dropped, palettes looked up, 16-bit samples cut to their high byte. Sizes are checked in the
/// header, before a pixel is decoded. Throws ImageError: `image_too_large`, or `image_unreadable` for truncated, damaged and
/// foreign files.
Picture decode(const Bytes& data, bool apply_orientation);

/// `decode` of a file; ImageError `image_unreadable` if it cannot be opened.
Picture read_picture(const std::filesystem::path& path, bool apply_orientation);

}  // namespace modelport
