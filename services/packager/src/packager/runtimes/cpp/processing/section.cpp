#include "processing/section.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "processing/errors.h"

namespace modelport {

namespace {

const Json NOTHING;
const Json NO_MEMBERS = Json::object();

/// What a message shows of a value; long or odd ones are cut and escaped.
std::string shown(const Json& value) {
    const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

std::string shown(double value) {
    std::ostringstream text;
    text << value;
    return text.str();
}

double checked_number(const Json& value, const std::string& field, double low, double high) {
    if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high)) {
        throw MetadataError(field, "must be a number from " + shown(low) + " to " + shown(high) + ", not " + shown(value));
    }
    return value.get<double>();
}

Index checked_integer(const Json& value, const std::string& field, Index low, Index high) {
    const double number = checked_number(value, field, static_cast<double>(low), static_cast<double>(high));
    if (number != std::floor(number)) throw MetadataError(field, "must be an integer, not " + shown(value));
    return static_cast<Index>(number);
}

}  // namespace

Json read_json(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Error("not_found", "there is no file " + path.u8string());
    try {
        return Json::parse(file);
    } catch (const Json::exception& error) {
        throw MetadataError("(file)", path.u8string() + " is not JSON: " + error.what());
    }
}

Section::Section(const Json& values, std::string path) : values_(&values), path_(std::move(path)) {
    if (!values.is_object()) throw MetadataError(path_.empty() ? "(file)" : path_, "must be an object");
}

std::string Section::field(const std::string& name) const { return path_.empty() ? name : path_ + "." + name; }

bool Section::has(const std::string& name) const { return !get(name).is_null(); }

std::vector<std::string> Section::names() const {
    std::vector<std::string> made;
    for (const auto& item : values_->items()) made.push_back(item.key());
    return made;
}

const Json& Section::get(const std::string& name) const {
    const auto found = values_->find(name);
    return found == values_->end() ? NOTHING : *found;
}

Section Section::section(const std::string& name) const { return {get(name), field(name)}; }

std::vector<Section> Section::sections(const std::string& name) const {
    const Json& value = get(name);
    if (!value.is_array()) throw MetadataError(field(name), "must be a list");
    std::vector<Section> made;
    for (const Json& entry : value) {
        made.emplace_back(entry.is_object() ? entry : NO_MEMBERS, field(name) + "[" + std::to_string(made.size()) + "]");
    }
    return made;
}

std::string Section::text(const std::string& name) const {
    const Json& value = get(name);
    if (!value.is_string()) throw MetadataError(field(name), value.is_null() ? "is missing" : "must be a string");
    return value.get<std::string>();
}

std::string Section::one_of(const std::string& name, const std::vector<std::string>& known,
                            const std::optional<std::string>& missing) const {
    const Json& value = get(name);
    if (value.is_null() && missing) return *missing;
    if (value.is_null()) throw MetadataError(field(name), "is missing");
    std::string choices;
    for (const std::string& choice : known) {
        if (value.is_string() && value.get_ref<const std::string&>() == choice) return choice;
        choices += (choices.empty() ? "" : ", ") + choice;
    }
    throw MetadataError(field(name), shown(value) + " is unknown; known: " + choices);
}

Index Section::one_of(const std::string& name, const std::vector<Index>& known) const {
    const Json& value = get(name);
    if (value.is_null()) throw MetadataError(field(name), "is missing");
    std::string choices;
    for (const Index choice : known) {
        if (value.is_number_integer() && value == choice) return choice;
        choices += (choices.empty() ? "" : ", ") + std::to_string(choice);
    }
    throw MetadataError(field(name), shown(value) + " is unknown; known: " + choices);
}

bool Section::flag(const std::string& name, bool missing) const {
    const Json& value = get(name);
    if (value.is_null()) return missing;
    if (!value.is_boolean()) throw MetadataError(field(name), shown(value) + " is unknown; known: true, false");
    return value.get<bool>();
}

double Section::number(const std::string& name, std::optional<double> missing, double low, double high) const {
    const Json& value = get(name);
    if (value.is_null() && missing) return *missing;
    return checked_number(value, field(name), low, high);
}

Index Section::integer(const std::string& name, std::optional<Index> missing, Index low, Index high) const {
    const Json& value = get(name);
    if (value.is_null() && missing) return *missing;
    return checked_integer(value, field(name), low, high);
}

std::array<Index, 2> Section::pair(const std::string& name, const std::string& meaning, Index low, Index high) const {
    const Json& value = get(name);
    if (!value.is_array() || value.size() != 2) throw MetadataError(field(name), "must be " + meaning);
    return {checked_integer(value[0], field(name) + ".0", low, high), checked_integer(value[1], field(name) + ".1", low, high)};
}

std::vector<Index> Section::integers(const std::string& name, Index low, Index high) const {
    const Json& value = get(name);
    if (!value.is_array()) throw MetadataError(field(name), "must be a list");
    std::vector<Index> made;
    for (const Json& entry : value) {
        made.push_back(checked_integer(entry, field(name) + "." + std::to_string(made.size()), low, high));
    }
    return made;
}

std::array<double, 3> Section::triple(const std::string& name, const std::array<double, 3>& missing) const {
    const Json& value = get(name);
    if (value.is_null()) return missing;
    if (!value.is_array() || value.size() != 3) throw MetadataError(field(name), "must be three numbers");
    std::array<double, 3> made{};
    for (std::size_t i = 0; i < 3; ++i) {
        made[i] = checked_number(value[i], field(name) + "." + std::to_string(i), -1e30, 1e30);
    }
    return made;
}

}  // namespace modelport
