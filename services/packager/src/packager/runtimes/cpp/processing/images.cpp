#include "processing/images.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>

#include "processing/errors.h"
#include "processing/headers.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb_image.h>

namespace modelport {

namespace {

constexpr double MAX_PIXELS = 1e8;
constexpr std::size_t MAX_BYTES = 64 * 1024 * 1024;
/// For the second copy of a picture that EXIF turns.
constexpr double TURNED_WEIGHT = 1.6;

/// Undo an EXIF orientation of 1 to 8.
Picture upright(const Picture& stored, int orientation) {
    if (orientation == 1) return stored;
    const bool is_turned = orientation >= 5;
    const bool flips_rows = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const bool flips_columns = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    Picture made(is_turned ? Size{stored.width, stored.height} : stored.size());
    for (Index y = 0; y < made.height; ++y) {
        std::uint8_t* out = made.row(y);
        for (Index x = 0; x < made.width; ++x) {
            const Index row = flips_rows ? made.height - 1 - y : y, column = flips_columns ? made.width - 1 - x : x;
            out = std::copy_n(is_turned ? stored.row(column) + 3 * row : stored.row(row) + 3 * column, 3, out);
        }
    }
    return made;
}

}  // namespace

Picture decode(const Bytes& data, bool apply_orientation) {
    if (data.size() > MAX_BYTES) {
        throw ImageError("image_too_large", "the picture has " + std::to_string(data.size()) + " bytes, allowed are " +
                                                std::to_string(MAX_BYTES));
    }
    const Header header = read_header(data);
    const double weight = std::max(header.weight, apply_orientation && header.orientation > 1 ? TURNED_WEIGHT : 1.0);
    if (static_cast<double>(header.width) * static_cast<double>(header.height) * weight > MAX_PIXELS) {
        throw ImageError("image_too_large", "the picture has " + std::to_string(header.width) + " x " +
                                                std::to_string(header.height) + " pixels, which are too many");
    }
    int width = 0, height = 0, channels = 0;
    const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
        stbi_load_from_memory(data.data(), static_cast<int>(data.size()), &width, &height, &channels, 3), stbi_image_free);
    if (!pixels) throw ImageError("image_unreadable", std::string("the picture is damaged: ") + stbi_failure_reason());
    if (width != header.width || height != header.height) {
        throw ImageError("image_unreadable", "the picture contradicts its header");
    }
    Picture picture(Size{height, width});
    std::copy_n(pixels.get(), picture.pixels.size(), picture.pixels.begin());
    return apply_orientation ? upright(picture, header.orientation) : picture;
}

Picture read_picture(const std::filesystem::path& path, bool apply_orientation) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
    if (size < 0) throw ImageError("image_unreadable", "there is no file " + path.u8string());
    Bytes data(static_cast<std::size_t>(std::min<std::streamoff>(size, MAX_BYTES + 1)));
    file.seekg(0).read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
    if (!file) throw ImageError("image_unreadable", path.u8string() + " cannot be read");
    return decode(data, apply_orientation);
}

}  // namespace modelport
