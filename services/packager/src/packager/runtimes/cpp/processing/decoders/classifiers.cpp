#include "processing/decoders/classifiers.h"

#include <cmath>

namespace modelport {

Floats softmax(const Raw& outputs) {
    Floats values = probabilities(outputs);
    const float largest = values[static_cast<std::size_t>(argmax(values.data(), static_cast<Index>(values.size())))];
    double sum = 0.0;
    for (float& value : values) sum += static_cast<double>(value = std::exp(value - largest));
    for (float& value : values) value /= static_cast<float>(sum);
    return values;
}

Floats probabilities(const Raw& outputs) {
    if (single(*outputs[0], 2)[0] == 0) throw wrong("the output holds no class");
    return outputs[0]->values;
}

}  // namespace modelport
