#include "goldens.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "processing/checksums.h"
#include "processing/errors.h"

namespace modelport {

namespace {

constexpr std::size_t MAX_HEADER_BYTES = std::size_t{64} << 20;
constexpr Index MAX_DRAWN_PIXELS = 100'000'000;
constexpr Index SCHEMA_VERSION = 1;

/// Numbers of a file that nobody aligned; little-endian, as every machine is that these runtimes run on.
template <typename T>
Floats read_as(const std::uint8_t* data, std::size_t count) {
    Floats made(count);
    for (std::size_t i = 0; i < count; ++i) {
        T value;
        std::memcpy(&value, data + i * sizeof(T), sizeof(T));
        made[i] = static_cast<float>(value);
    }
    return made;
}

/// IEEE 754 half precision.
float half(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
    if (exponent == 31) value = fraction == 0 ? INFINITY : NAN;
    return (bits & 0x8000) != 0 ? -value : value;
}

Floats read_halves(const std::uint8_t* data, std::size_t count) {
    Floats made(count);
    for (std::size_t i = 0; i < count; ++i) {
        made[i] = half(static_cast<std::uint16_t>(data[2 * i] | data[2 * i + 1] << 8));
    }
    return made;
}

struct Type {
    std::size_t size;
    Floats (*read)(const std::uint8_t*, std::size_t);
};

const std::map<std::string, Type>& types() {
    static const std::map<std::string, Type> table{
        {"U8", {1, read_as<std::uint8_t>}},  {"I32", {4, read_as<std::int32_t>}}, {"I64", {8, read_as<std::int64_t>}},
        {"F16", {2, read_halves}},           {"F32", {4, read_as<float>}},        {"F64", {8, read_as<double>}},
    };
    return table;
}

std::uint8_t noise(std::uint32_t y, std::uint32_t x, std::uint32_t c, std::uint32_t seed) {
    std::uint32_t v = y * 0x9E3779B1U + x * 0x85EBCA77U + c * 0xC2B2AE3DU + seed * 0x27D4EB2FU;
    v ^= v >> 15;
    v *= 0x2C1B3C6DU;
    v ^= v >> 12;
    return static_cast<std::uint8_t>(v >> 24);
}

std::uint8_t ramp(std::uint32_t y, std::uint32_t x, std::uint32_t c, std::uint32_t seed) {
    const std::uint32_t turn = (3 * y + 2 * x + 85 * c + 37 * seed) & 511U;
    return static_cast<std::uint8_t>(turn < 256 ? turn : 511 - turn);
}

Bytes read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Error("not_found", "there is no file " + path.u8string());
    return Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

}  // namespace

Picture draw(const std::string& pattern, Index height, Index width, std::uint32_t seed) {
    if (pattern != "noise" && pattern != "ramp") throw GoldenError("pattern \"" + pattern + "\" is unknown; known: noise, ramp");
    if (height < 1 || width < 1 || height > MAX_DRAWN_PIXELS / width) throw GoldenError("has a picture of an impossible size");
    const auto value = pattern == "noise" ? noise : ramp;
    Picture made(Size{height, width});
    auto out = made.pixels.begin();
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            for (std::uint32_t c = 0; c < 3; ++c) {
                *out++ = value(static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(x), c, seed);
            }
        }
    }
    return made;
}

Fingerprint fingerprint(const Tensor& tensor) {
    const auto crc = std::visit([](const auto& values) {
        return crc32(reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(values[0]));
    }, tensor.values);
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(crc));
    return {tensor.is_bytes() ? "uint8" : "float32", tensor.shape, digits};
}

Goldens::Goldens(const std::filesystem::path& file) : data_(read_file(file)) {
    std::uint64_t size = 0;
    for (std::size_t i = 8; i > 0 && data_.size() >= 8; --i) size = size << 8 | data_[i - 1];
    if (data_.size() < 8 || size > data_.size() - 8 || size > MAX_HEADER_BYTES) throw GoldenError("is no safetensors file");
    try {
        const std::size_t base = 8 + static_cast<std::size_t>(size);
        const Json header = Json::parse(data_.begin() + 8, data_.begin() + static_cast<Index>(base));
        vectors_ = Json::parse(header.at("__metadata__").at("vectors").get_ref<const std::string&>());
        for (const auto& [name, entry] : header.items()) {
            if (name != "__metadata__") add(name, entry, base);
        }
        if (vectors_.at("schema_version") != SCHEMA_VERSION) {
            throw GoldenError("has schema version " + vectors_["schema_version"].dump() + ", known is " + std::to_string(SCHEMA_VERSION));
        }
    } catch (const Json::exception& error) {
        throw GoldenError(std::string("cannot be read: ") + error.what());
    }
}

void Goldens::add(const std::string& name, const Json& entry, std::size_t base) {
    Stored made{entry.at("dtype").get<std::string>(), {}, 0};
    for (const Json& side : entry.at("shape")) made.shape.push_back(side.get<Index>());
    const auto type = types().find(made.dtype);
    if (type == types().end()) throw GoldenError("has an array of the unknown type \"" + made.dtype + "\"");
    const std::uint64_t begin = entry.at("data_offsets").at(0).get<std::uint64_t>();
    const std::uint64_t end = entry.at("data_offsets").at(1).get<std::uint64_t>();
    const Index count = elements(made.shape);
    if (begin > end || end > data_.size() - base) throw GoldenError("has an array that lies outside the file");
    if (count < 0 || end - begin != type->second.size * static_cast<std::uint64_t>(count)) {
        throw GoldenError("has an array that has not the size of its shape");
    }
    made.begin = base + static_cast<std::size_t>(begin);
    arrays_.insert_or_assign(name, std::move(made));
}

const Goldens::Stored& Goldens::stored(const std::string& name) const {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) throw GoldenError("has no array \"" + name + "\"");
    return found->second;
}

Array Goldens::numbers(const std::string& name) const {
    const Stored& array = stored(name);
    return {array.shape, types().at(array.dtype).read(data_.data() + array.begin, static_cast<std::size_t>(elements(array.shape)))};
}

Picture Goldens::picture(const std::string& name) const {
    const Stored& array = stored(name);
    if (array.dtype != "U8" || array.shape.size() != 3 || array.shape[2] != 3) {
        throw GoldenError("has \"" + name + "\", which is no picture uint8 [height, width, 3]");
    }
    Picture made(Size{array.shape[0], array.shape[1]});
    const auto begin = data_.begin() + static_cast<Index>(array.begin);
    made.pixels.assign(begin, begin + static_cast<Index>(made.pixels.size()));
    return made;
}

}  // namespace modelport
