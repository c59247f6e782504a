/// One object of a JSON file and its path, for messages; what is missing or of another kind is refused by its name.
#pragma once

#include <array>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "processing/arrays.h"

namespace modelport {

/// JSON whose members keep their order.
using Json = nlohmann::ordered_json;

/// A file's JSON; throws Error `not_found` or MetadataError.
Json read_json(const std::filesystem::path& path);

/// Borrows the JSON, which must outlive it. All reading functions throw MetadataError naming the field and what would work.
class Section {
public:
    Section(const Json& values, std::string path);

    std::string field(const std::string& name) const;
    bool has(const std::string& name) const;
    std::vector<std::string> names() const;

    Section section(const std::string& name) const;
    /// A list's entries; one that is no object lacks every member.
    std::vector<Section> sections(const std::string& name) const;
    std::string text(const std::string& name) const;
    std::string one_of(const std::string& name, const std::vector<std::string>& known,
                       const std::optional<std::string>& missing = std::nullopt) const;
    Index one_of(const std::string& name, const std::vector<Index>& known) const;
    bool flag(const std::string& name, bool missing) const;
    double number(const std::string& name, std::optional<double> missing, double low = -1e30, double high = 1e30) const;
    Index integer(const std::string& name, std::optional<Index> missing, Index low, Index high = Index{1} << 31) const;
    /// Two integers, such as [height, width]; `meaning` names them for the message.
    std::array<Index, 2> pair(const std::string& name, const std::string& meaning, Index low, Index high) const;
    std::vector<Index> integers(const std::string& name, Index low, Index high) const;
    std::array<double, 3> triple(const std::string& name, const std::array<double, 3>& missing) const;

private:
    /// The value, or null where there is none.
    const Json& get(const std::string& name) const;

    const Json* values_;
    std::string path_;
};

}  // namespace modelport
