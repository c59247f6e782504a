#include "processing/decoders/detr.h"

#include <algorithm>
#include <cmath>

namespace modelport {

namespace {

/// Queries and classes of outputs that fit together.
Shape queries(const Raw& outputs) {
    const Shape raw = single(*outputs[0], 3), where = single(*outputs[1], 3);
    if (where != Shape{raw[0], 4} || raw[1] < 1) {
        throw wrong("needs logits [1, Q, classes] and boxes [1, Q, 4], got " + to_string(outputs[0]->shape) + " and " +
                    to_string(outputs[1]->shape));
    }
    return raw;
}

/// A query's box, fractions cx cy w h, as x1 y1 x2 y2 in input pixels at the end of `boxes`.
void add_pixels(Matrix& boxes, const Array& where, Index query, Size input) {
    Matrix box(1, 4);
    std::copy_n(where.values.begin() + 4 * query, 4, box.values.begin());
    corners(box);
    for (std::size_t i = 0; i < 4; ++i) {
        boxes.values.push_back(box.values[i] * static_cast<float>(i % 2 == 0 ? input.width : input.height));
    }
    ++boxes.rows;
}

/// exp(logits) over their sum.
Floats likely(const float* logits, Index classes) {
    Floats values(logits, logits + classes);
    const float largest = logits[argmax(logits, classes)];
    double sum = 0.0;
    for (float& value : values) sum += static_cast<double>(value = std::exp(value - largest));
    for (float& value : values) value /= static_cast<float>(sum);
    return values;
}

}  // namespace

Candidates detr_softmax(const Raw& outputs, const Model& model, double confidence) {
    const Shape raw = queries(outputs);
    if (raw[1] < 2) throw wrong("needs logits [1, Q, classes + 1], got " + to_string(outputs[0]->shape));
    Candidates found;
    found.boxes = Matrix(0, 4);
    for (Index query = 0; query < raw[0]; ++query) {
        const Floats scores = likely(outputs[0]->values.data() + query * raw[1], raw[1]);
        const Index best = argmax(scores.data(), raw[1] - 1);
        const float score = scores[static_cast<std::size_t>(best)];
        if (!(score > static_cast<float>(confidence))) continue;
        found.scores.push_back(score);
        found.classes.push_back(best);
        add_pixels(found.boxes, *outputs[1], query, model.input_size);
    }
    return found;
}

Candidates detr_sigmoid(const Raw& outputs, const Model& model, double confidence) {
    const Shape raw = queries(outputs);
    Floats scores;
    std::vector<Index> chosen;
    for (std::size_t i = 0; i < outputs[0]->values.size(); ++i) {
        const float score = sigmoid(outputs[0]->values[i]);
        if (!(score > static_cast<float>(confidence))) continue;
        scores.push_back(score);
        chosen.push_back(static_cast<Index>(i));
    }
    std::vector<Index> order = best_first(scores);
    if (static_cast<Index>(order.size()) > raw[0]) order.resize(static_cast<std::size_t>(raw[0]));
    Candidates found;
    found.boxes = Matrix(0, 4);
    for (const Index i : order) {
        const Index pair = chosen[static_cast<std::size_t>(i)];
        found.scores.push_back(scores[static_cast<std::size_t>(i)]);
        found.classes.push_back(pair % raw[1]);
        add_pixels(found.boxes, *outputs[1], pair / raw[1], model.input_size);
    }
    return found;
}

float sigmoid(float x) {
    const float small = std::exp(-std::abs(x));
    return (x >= 0.0f ? 1.0f : small) / (1.0f + small);
}

}  // namespace modelport
