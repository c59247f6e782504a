#include "processing/arrays.h"

#include <algorithm>
#include <numeric>

namespace modelport {

namespace {

constexpr Index MAX_ELEMENTS = Index{1} << 40;

}  // namespace

Index argmax(const float* values, Index count, Index stride) {
    Index best = 0;
    for (Index i = 1; i < count; ++i) {
        const float value = values[i * stride];
        const float leader = values[best * stride];
        if (value > leader || (std::isnan(value) && !std::isnan(leader))) best = i;
    }
    return best;
}

std::vector<Index> best_first(const Floats& scores) {
    std::vector<Index> order(scores.size());
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&scores](Index a, Index b) {
        const float one = scores[static_cast<std::size_t>(a)];
        const float other = scores[static_cast<std::size_t>(b)];
        return one > other || (!std::isnan(one) && std::isnan(other));
    });
    return order;
}

Index elements(const Shape& shape) {
    Index count = 1;
    for (const Index side : shape) {
        if (side < 0 || (side > 0 && count > MAX_ELEMENTS / side)) return -1;
        count *= side;
    }
    return count;
}

std::string to_string(const Shape& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); ++i) text += (i != 0 ? ", " : "") + std::to_string(shape[i]);
    return text + ")";
}

}  // namespace modelport
