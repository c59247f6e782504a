#include "processing/headers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <numeric>

#include "processing/checksums.h"
#include "processing/errors.h"

namespace modelport {

namespace {

/// Segments and chunks of one file.
constexpr int MAX_PARTS = 20000;
/// Of one JPEG; progressive files have about ten.
constexpr int MAX_SCANS = 50;
/// Of one PNG: texts and colour profiles, which may be compressed.
constexpr int MAX_TEXTS = 12;
constexpr std::uint32_t ORIENTATION = 0x0112;
constexpr std::size_t EXIF_BEGIN = 6;

ImageError unreadable(const std::string& message) { return {"image_unreadable", message}; }

/// Bytes of a file, read within their bounds: whoever reads beyond them learns that the file is truncated.
struct View {
    const std::uint8_t* data;
    std::size_t size;

    std::uint32_t number(std::size_t at, std::size_t bytes, bool is_big) const {
        part(at, bytes);
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | data[at + (is_big ? i : bytes - 1 - i)];
        return value;
    }
    std::uint32_t byte(std::size_t at) const { return number(at, 1, true); }
    std::uint32_t big16(std::size_t at) const { return number(at, 2, true); }
    std::uint32_t big32(std::size_t at) const { return number(at, 4, true); }
    std::uint32_t little16(std::size_t at) const { return number(at, 2, false); }
    std::uint32_t little32(std::size_t at) const { return number(at, 4, false); }

    View part(std::size_t at, std::size_t count) const {
        if (at > size || count > size - at) throw unreadable("the file is truncated");
        return {data + at, count};
    }
    bool begins(const char* magic, std::size_t count) const { return size >= count && std::memcmp(data, magic, count) == 0; }
};

/// Tag 0x0112 of the first directory; 1 where there is none or the block is damaged, as decoders do.
int exif_orientation(View tiff) {
    const bool is_little = tiff.begins("II*\0", 4), is_big = tiff.begins("MM\0*", 4);
    if (!is_little && !is_big) return 1;
    try {
        const std::size_t directory = tiff.number(4, 4, is_big);
        const std::uint32_t count = tiff.number(directory, 2, is_big);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t entry = directory + 2 + 12 * i;
            const std::uint32_t value = tiff.number(entry + 8, 2, is_big);
            if (tiff.number(entry, 2, is_big) == ORIENTATION) return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
        }
    } catch (const ImageError&) {
        return 1;
    }
    return 1;
}

bool is_standalone(std::uint32_t marker) { return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7); }

bool is_frame(std::uint32_t marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

bool is_progressive(std::uint32_t marker) { return marker == 0xC2 || marker == 0xC6 || marker == 0xCA || marker == 0xCE; }

/// Bytes a pixel that a decoder keeps of a picture whose scans each bring a part of it: two for each sample.
double coefficients(View frame) {
    std::uint32_t widest = 1, highest = 1, samples = 0;
    const std::size_t components = frame.byte(5);
    for (std::size_t i = 0; i < components && 6 + 3 * i + 1 < frame.size; ++i) {
        const std::uint32_t factors = frame.byte(6 + 3 * i + 1), width = factors >> 4, height = factors & 15;
        widest = std::max(widest, width);
        highest = std::max(highest, height);
        samples += width * height;
    }
    return 2.0 * samples / (widest * highest);
}

/// Releases of stb_image before 2.28 write beyond their tables for more codes than there are.
void check_huffman(View tables) {
    for (std::size_t at = 0; at < tables.size;) {
        const View counts = tables.part(at, 17);
        const std::uint32_t codes = std::accumulate(counts.data + 1, counts.data + 17, 0U);
        if (codes > 256) throw unreadable("the JPEG file is damaged");
        at += 17 + codes;
    }
}

/// From the first scan to the end marker; inside a scan every 0xFF byte is stuffed, so that any marker ends it.
int count_scans(View file, std::size_t at) {
    int scans = 0;
    for (int part = 0; part < MAX_PARTS; ++part) {
        const auto ends = [&file](std::size_t i) {
            const std::uint8_t next = file.data[i + 1];
            return file.data[i] == 0xFF && next != 0x00 && next != 0xFF && !(next >= 0xD0 && next <= 0xD7);
        };
        while (at + 1 < file.size && !ends(at)) ++at;
        if (at + 1 >= file.size) throw unreadable("the JPEG file is truncated");
        const std::uint32_t marker = file.byte(at + 1);
        if (marker == 0xD9) return scans;
        if (marker == 0xDA && ++scans > MAX_SCANS) {
            throw unreadable("the JPEG file has more than " + std::to_string(MAX_SCANS) + " scans");
        }
        at += 2;
        if (is_standalone(marker)) continue;
        const std::size_t length = file.big16(at);
        if (length < 2) throw unreadable("the JPEG file is damaged");
        if (marker == 0xC4) check_huffman(file.part(at + 2, length - 2));
        at += length;
    }
    throw unreadable("the JPEG file has too many segments");
}

Header jpeg(View file) {
    Header header{"jpeg"};
    double kept = 0.0;
    bool is_kept = false;
    std::size_t at = 2;
    for (int part = 0; part < MAX_PARTS; ++part) {
        if (file.byte(at) != 0xFF) throw unreadable("the JPEG file is damaged");
        const std::uint32_t marker = file.byte(at + 1);
        if (marker == 0xFF || is_standalone(marker)) {
            at += marker == 0xFF ? 1 : 2;
            continue;
        }
        const std::size_t length = file.big16(at + 2);
        if (marker == 0xD9) throw unreadable("the JPEG file holds no picture");
        if (marker == 0xDA) {
            if (count_scans(file, at) > 1 || is_kept) header.weight = 1.0 + kept / 3.0;
            return header;
        }
        if (length < 2) throw unreadable("the JPEG file is damaged");
        const View body = file.part(at + 4, length - 2);
        if (is_frame(marker)) {
            header.height = static_cast<Index>(body.big16(1));
            header.width = static_cast<Index>(body.big16(3));
            kept = coefficients(body);
            is_kept = is_progressive(marker);
        } else if (marker == 0xC4) {
            check_huffman(body);
        } else if (marker == 0xE1 && body.begins("Exif\0\0", EXIF_BEGIN)) {
            header.orientation = exif_orientation(body.part(EXIF_BEGIN, body.size - EXIF_BEGIN));
        }
        at += 2 + length;
    }
    throw unreadable("the JPEG file has too many segments");
}

Header png(View file) {
    Header header{"png"};
    int texts = 0;
    std::size_t at = 8;
    for (int part = 0; part < MAX_PARTS; ++part) {
        const std::size_t length = file.big32(at);
        const View kind = file.part(at + 4, 4), body = file.part(at + 8, length);
        if (crc32(kind.data, 4 + length) != file.big32(at + 8 + length)) throw unreadable("the PNG file is damaged");
        const bool is_text = kind.begins("zTXt", 4) || kind.begins("iTXt", 4) || kind.begins("iCCP", 4);
        if (is_text && ++texts > MAX_TEXTS) {
            throw unreadable("the PNG file has more than " + std::to_string(MAX_TEXTS) + " texts and profiles");
        }
        if (kind.begins("IHDR", 4)) {
            header.width = static_cast<Index>(body.big32(0));
            header.height = static_cast<Index>(body.big32(4));
        } else if (kind.begins("eXIf", 4)) {
            header.orientation = exif_orientation(body);
        } else if (kind.begins("IEND", 4)) {
            return header;
        }
        at += 12 + length;
    }
    throw unreadable("the PNG file has too many chunks");
}

Header bmp(View file) {
    const std::size_t start = file.little32(10);
    if (file.little32(14) < 40) throw unreadable("BMP files of OS/2 are not supported");
    const Index width = static_cast<std::int32_t>(file.little32(18)), height = static_cast<std::int32_t>(file.little32(22));
    const std::uint32_t bits = file.little16(28), compression = file.little32(30);
    const std::uint32_t known[] = {1, 4, 8, 24, 32};
    if (std::find(std::begin(known), std::end(known), bits) == std::end(known) || (compression != 0 && compression != 3)) {
        throw unreadable("this kind of BMP file is not supported");
    }
    const Index row = (std::max<Index>(width, 0) * static_cast<Index>(bits) + 31) / 32 * 4;
    const Index rows = std::abs(height);
    if (rows > 0 && row > (static_cast<Index>(file.size) - static_cast<Index>(start)) / rows) {
        throw unreadable("the BMP file is truncated");
    }
    return {"bmp", width, rows, 1, 1.0};
}

}  // namespace

Header read_header(const Bytes& data) {
    const View file{data.data(), data.size()};
    Header header;
    if (file.begins("\xff\xd8\xff", 3)) {
        header = jpeg(file);
    } else if (file.begins("\x89PNG\r\n\x1a\n", 8)) {
        header = png(file);
    } else if (file.begins("BM", 2)) {
        header = bmp(file);
    } else {
        throw unreadable("not a JPEG, PNG or BMP file");
    }
    if (header.width < 1 || header.height < 1) throw unreadable("the picture has no pixels");
    return header;
}

}  // namespace modelport
