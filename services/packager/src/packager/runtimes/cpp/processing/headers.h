/// What a picture file says of itself, read without decoding it: format, size, EXIF orientation, and whether it is whole.
///
/// Files that cost a decoder far more than their pixels are refused here: a JPEG is decoded again in each of its scans, and
/// a PNG unpacks compressed texts that nobody reads.
#pragma once

#include <string>

#include "processing/arrays.h"

namespace modelport {

/// `width` and `height` are those stored, before the orientation (1 to 8) is applied.
/// `weight` is how many times the memory of its RGB pixels a decoder needs at its worst.
struct Header {
    std::string format;
    Index width = 0;
    Index height = 0;
    int orientation = 1;
    double weight = 1.0;
};

/// Throws ImageError `image_unreadable` for anything but a whole JPEG, PNG or BMP file.
Header read_header(const Bytes& data);

}  // namespace modelport
