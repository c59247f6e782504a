/// What tests ask of the wrapper, one JSON object a line, answered by one line: many questions of one process.
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "goldens.h"
#include "model_wrapper.h"
#include "processing/checksums.h"
#include "processing/images.h"
#include "processing/kernels.h"
#include "processing/section.h"

namespace {

using namespace modelport;

Picture drawn(const Json& asked) {
    return draw(asked.at("pattern").get<std::string>(), asked.at("height").get<Index>(), asked.at("width").get<Index>(),
                asked.at("seed").get<std::uint32_t>());
}

Json told(const Picture& picture) {
    return {{"shape", {picture.height, picture.width, 3}}, {"crc32", crc32(picture.pixels.data(), picture.pixels.size())}};
}

Json told(const std::vector<Prediction>& predictions) {
    Json made = Json::array();
    for (const Prediction& prediction : predictions) made.push_back(Json::parse(to_json(prediction)));
    return made;
}

Pipeline pipeline(const Json& asked) {
    const Json metadata = read_json(asked.at("metadata").get<std::string>());
    return Pipeline::from_metadata(Section(metadata, ""));
}

Options options(const Json& asked) {
    Options made;
    const Json given = asked.value("options", Json::object());
    if (given.contains("confidence_threshold")) made.confidence_threshold = given["confidence_threshold"].get<double>();
    if (given.contains("iou_threshold")) made.iou_threshold = given["iou_threshold"].get<double>();
    if (given.contains("max_detections")) made.max_detections = given["max_detections"].get<Index>();
    if (given.contains("top_k")) made.top_k = given["top_k"].get<Index>();
    return made;
}

/// Outputs lie in files, float32.
Outputs outputs(const Json& asked) {
    Outputs made;
    for (const auto& [name, place] : asked.at("outputs").items()) {
        std::ifstream file(place.at("file").get<std::string>(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        Array& array = made[name];
        array.shape = place.at("shape").get<Shape>();
        array.values.resize(bytes.size() / sizeof(float));
        std::copy_n(bytes.data(), array.values.size() * sizeof(float), reinterpret_cast<char*>(array.values.data()));
    }
    return made;
}

Json postprocess(const Json& asked) {
    const Pipeline made = pipeline(asked);
    const auto source = asked.at("source").get<std::array<Index, 2>>();
    return told(made.postprocess(outputs(asked), locate({source[0], source[1]}, made.resize).second, options(asked)));
}

/// A kernel given rows with gaps between them.
Json strided(const Json& asked) {
    const Picture picture = drawn(asked);
    const Index row_bytes = picture.width * 3 + 5;
    Bytes spread(static_cast<std::size_t>(row_bytes * picture.height), 77);
    for (Index y = 0; y < picture.height; ++y) std::copy_n(picture.row(y), picture.width * 3, spread.data() + y * row_bytes);
    const auto to = asked.at("to").get<std::array<Index, 2>>();
    return told(resize({spread.data(), picture.height, picture.width, row_bytes}, {to[0], to[1]}, asked.at("kernel").get<std::string>()));
}

Json preprocess(const Json& asked) {
    const Fingerprint made = fingerprint(pipeline(asked).preprocess(drawn(asked)).first);
    return {{"dtype", made.dtype}, {"shape", made.shape}, {"crc32", made.crc32}};
}

/// Loads a package and asks it in all its ways: alone, in a batch, from several threads, after it was moved.
Json wrapper(const Json& asked) {
    std::vector<Picture> pictures;
    for (const Json& picture : asked.at("pictures")) pictures.push_back(drawn(picture));
    ModelWrapper first(asked.at("package").get<std::string>());
    const ModelWrapper model = std::move(first);
    Json alone = Json::array(), together = Json::array(), threaded = Json::array();
    for (const Picture& picture : pictures) alone.push_back(told(model.predict(picture, options(asked))));
    const std::vector<PictureView> views(pictures.begin(), pictures.end());
    for (const auto& found : model.predict_batch(views, options(asked))) together.push_back(told(found));
    std::vector<Json> found(pictures.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < pictures.size(); ++i) {
        threads.emplace_back([&, i] { found[i] = told(model.predict(pictures[i], options(asked))); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Json& one : found) threaded.push_back(one);
    return {{"alone", alone}, {"together", together}, {"threaded", threaded}, {"batch_size", model.batch_size()}};
}

/// An array of a file of golden vectors.
Json numbers(const Json& asked) {
    const Array array = Goldens(asked.at("file").get<std::string>()).numbers(asked.at("array").get<std::string>());
    return {{"shape", array.shape}, {"values", array.values}};
}

const std::map<std::string, std::function<Json(const Json&)>> ANSWERS{
    {"resize", strided},
    {"preprocess", preprocess},
    {"postprocess", postprocess},
    {"metadata", [](const Json& asked) { return Json(pipeline(asked).output_names); }},
    {"decode", [](const Json& asked) { return told(read_picture(asked.at("file").get<std::string>(), asked.at("exif").get<bool>())); }},
    {"sha256", [](const Json& asked) { return Json(sha256(asked.at("file").get<std::string>())); }},
    {"goldens", numbers},
    {"wrapper", wrapper},
};

Json answer(const Json& asked) {
    try {
        return {{"answer", ANSWERS.at(asked.at("do").get<std::string>())(asked)}};
    } catch (const FieldError& error) {
        return {{"error", {{"code", error.code()}, {"field", error.field()}, {"message", error.what()}}}};
    } catch (const Error& error) {
        return {{"error", {{"code", error.code()}, {"field", nullptr}, {"message", error.what()}}}};
    }
}

}  // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        std::cout << answer(Json::parse(line)).dump(-1, ' ', true, Json::error_handler_t::replace) << std::endl;
    }
}
