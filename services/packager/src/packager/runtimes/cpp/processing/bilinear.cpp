#include "processing/bilinear.h"

#include <algorithm>

namespace modelport {

Taps Taps::part(Index start, Index stop) const {
    stop = std::min(stop, size());
    start = std::min(start, stop);
    return {{first.begin() + start, first.begin() + stop},
            {second.begin() + start, second.begin() + stop},
            {weight.begin() + start, weight.begin() + stop}};
}

Taps Taps::moved(Index by) const {
    Taps made = *this;
    for (Index& index : made.first) index -= by;
    for (Index& index : made.second) index -= by;
    return made;
}

Taps taps(Index source, Index target) {
    Taps made;
    const float scale = static_cast<float>(source) / static_cast<float>(target);
    for (Index i = 0; i < target; ++i) {
        const float position = std::max((static_cast<float>(i) + 0.5f) * scale - 0.5f, 0.0f);
        const Index first = std::min(static_cast<Index>(position), source - 1);
        made.first.push_back(first);
        made.second.push_back(std::min(first + 1, source - 1));
        made.weight.push_back(std::min(position - static_cast<float>(first), 1.0f));
    }
    return made;
}

Planes across(const Planes& planes, const Taps& columns, Index top, Index bottom) {
    Planes made(planes.channels, bottom - top, columns.size());
    float* out = made.values.data();
    for (Index channel = 0; channel < planes.channels; ++channel) {
        for (Index y = top; y < bottom; ++y) {
            const float* row = planes.row(channel, y);
            for (std::size_t x = 0; x < columns.first.size(); ++x) {
                const float weight = columns.weight[x];
                *out++ = row[columns.first[x]] * (1.0f - weight) + row[columns.second[x]] * weight;
            }
        }
    }
    return made;
}

Planes down(const Planes& planes, const Taps& rows) {
    Planes made(planes.channels, rows.size(), planes.width);
    float* out = made.values.data();
    for (Index channel = 0; channel < planes.channels; ++channel) {
        for (std::size_t y = 0; y < rows.first.size(); ++y) {
            const float weight = rows.weight[y];
            const float* upper = planes.row(channel, rows.first[y]);
            const float* lower = planes.row(channel, rows.second[y]);
            for (Index x = 0; x < planes.width; ++x) *out++ = upper[x] * (1.0f - weight) + lower[x] * weight;
        }
    }
    return made;
}

Planes resample(const Planes& planes, const Taps& rows, const Taps& columns) {
    const auto [top, bottom] = rows.span();
    return down(across(planes, columns, top, bottom), rows.moved(top));
}

}  // namespace modelport
