/// Predictions of raw video as JSON, one line a picture: `… | frames WIDTH HEIGHT [confidence]`.
///
/// Standard input holds pictures one after the other, RGB, 3 bytes a pixel, without anything between them: what every camera's
/// own tool can write, so that no library for cameras is needed here.
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "model_wrapper.h"

namespace {

using namespace modelport;
using Clock = std::chrono::steady_clock;

constexpr Index LONGEST_SIDE = 16384;

Index side(const char* text) {
    const long value = std::strtol(text, nullptr, 10);
    if (value < 1 || value > LONGEST_SIDE) throw std::runtime_error("a side of " + std::string(text) + " pixels cannot be read");
    return value;
}

/// Fills the picture; false at the end of the input. Throws where the input ends inside a picture.
bool fill(std::istream& input, Picture& picture) {
    const auto wanted = static_cast<std::streamsize>(picture.pixels.size());
    input.read(reinterpret_cast<char*>(picture.pixels.data()), wanted);
    if (input.gcount() == 0) return false;
    if (input.gcount() != wanted) throw std::runtime_error("the input ends inside a picture: are width and height right?");
    return true;
}

void watch(const ModelWrapper& model, Picture& picture, const Options& options) {
    while (fill(std::cin, picture)) {
        const auto began = Clock::now();
        const std::vector<Prediction> found = model.predict(picture, options);
        const std::chrono::duration<double, std::milli> took = Clock::now() - began;
        std::string list;
        for (const Prediction& prediction : found) list += (list.empty() ? "" : ", ") + to_json(prediction);
        std::cout << "{\"milliseconds\": " << took.count() << ", \"predictions\": [" << list << "]}" << std::endl;
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3 && count != 4) {
        std::cerr << "usage: frames WIDTH HEIGHT [confidence] < pictures, RGB, 3 bytes a pixel\n";
        return 2;
    }
    try {
        Picture picture({side(arguments[2]), side(arguments[1])});
        Options options;
        if (count == 4) options.confidence_threshold = std::strtod(arguments[3], nullptr);
        watch(ModelWrapper(), picture, options);
    } catch (const std::exception& error) {
        std::cerr << "frames: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
