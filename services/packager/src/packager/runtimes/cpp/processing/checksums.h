/// Checksums as zlib, PNG, the golden vectors and metadata.json have them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace modelport {

std::uint32_t crc32(const std::uint8_t* data, std::size_t size);

/// 64 hex digits of a file's SHA-256; throws Error `not_found` where it cannot be read.
std::string sha256(const std::filesystem::path& path);

}  // namespace modelport
