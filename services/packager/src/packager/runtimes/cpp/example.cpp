/// Predictions of pictures as JSON, one line a picture: `example picture.jpg [another.png …]`.
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <string>

#include "model_wrapper.h"

namespace {

namespace fs = std::filesystem;
using namespace modelport;

constexpr const char* USAGE =
    "usage: example [--package FOLDER] [--model FILE] [--metadata FILE] [--confidence-threshold X] [--iou-threshold X]\n"
    "               [--max-detections N] [--top-k N] picture [picture ...]\n";

struct Asked {
    fs::path package = ModelWrapper::default_package();
    fs::path model;
    fs::path metadata;
    Options options;
    std::vector<fs::path> pictures;
};

double number(const std::string& name, const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') throw OptionError(name, "must be a number, not \"" + text + "\"");
    return value;
}

Index integer(const std::string& name, const std::string& text) {
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0') throw OptionError(name, "must be an integer, not \"" + text + "\"");
    return value;
}

Asked parse(int count, char** arguments) {
    Asked asked;
    const std::map<std::string, std::function<void(const std::string&, const std::string&)>> known{
        {"--package", [&](const auto&, const auto& text) { asked.package = fs::u8path(text); }},
        {"--model", [&](const auto&, const auto& text) { asked.model = fs::u8path(text); }},
        {"--metadata", [&](const auto&, const auto& text) { asked.metadata = fs::u8path(text); }},
        {"--confidence-threshold", [&](const auto& name, const auto& text) { asked.options.confidence_threshold = number(name, text); }},
        {"--iou-threshold", [&](const auto& name, const auto& text) { asked.options.iou_threshold = number(name, text); }},
        {"--max-detections", [&](const auto& name, const auto& text) { asked.options.max_detections = integer(name, text); }},
        {"--top-k", [&](const auto& name, const auto& text) { asked.options.top_k = integer(name, text); }},
    };
    for (int i = 1; i < count; ++i) {
        const std::string argument = arguments[i];
        const auto option = known.find(argument);
        if (option != known.end() && i + 1 < count) {
            option->second(argument, arguments[++i]);
        } else if (argument.rfind("--", 0) == 0) {
            throw OptionError(argument, option != known.end() ? "needs a value" : "is unknown");
        } else {
            asked.pictures.push_back(fs::u8path(argument));
        }
    }
    if (asked.metadata.empty()) asked.metadata = asked.package / "metadata.json";
    return asked;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        const Asked asked = parse(count, arguments);
        if (asked.pictures.empty()) {
            std::cerr << USAGE;
            return 2;
        }
        const ModelWrapper model(asked.model, asked.metadata);
        std::vector<Picture> pictures;
        for (const fs::path& file : asked.pictures) pictures.push_back(model.read(file));
        const std::vector<PictureView> views(pictures.begin(), pictures.end());
        for (const std::vector<Prediction>& found : model.predict_batch(views, asked.options)) {
            std::string line;
            for (const Prediction& prediction : found) line += (line.empty() ? "" : ", ") + to_json(prediction);
            std::cout << '[' << line << "]\n";
        }
    } catch (const std::exception& error) {
        std::cerr << "example: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
