#include "processing/masks.h"

#include <string>

#include "processing/errors.h"

namespace modelport {

namespace {

/// Of all masks of one picture together: noise would make the answer larger than the picture.
constexpr Index MAX_RUNS = Index{1} << 20;

}  // namespace

Bytes Mask::pixels() const {
    Bytes made(static_cast<std::size_t>(size.height * size.width), 0);
    Index at = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] < 0 || counts[i] > size.height * size.width - at) throw AnswerError("the mask's counts exceed its size");
        for (const Index end = at + counts[i]; at < end; ++at) {
            if (i % 2 == 1) made[static_cast<std::size_t>(at % size.height * size.width + at / size.height)] = 1;
        }
    }
    if (at != size.height * size.width) throw AnswerError("the mask's counts do not fill its size");
    return made;
}

Index Mask::area() const {
    Index sum = 0;
    for (std::size_t i = 1; i < counts.size(); i += 2) sum += counts[i];
    return sum;
}

Mask encode(const Bytes& region, Size region_size, Index top, Index left, Size size) {
    std::vector<Index> starts, ends;
    for (Index x = 0; x < region_size.width; ++x) {
        const Index column = (x + left) * size.height + top;
        bool was_inside = false;
        for (Index y = 0; y < region_size.height; ++y) {
            const bool is_inside = region[static_cast<std::size_t>(y * region_size.width + x)] != 0;
            if (is_inside != was_inside) (is_inside ? starts : ends).push_back(column + y);
            was_inside = is_inside;
        }
        if (was_inside) ends.push_back(column + region_size.height);
        check_runs(static_cast<Index>(starts.size() + ends.size()));
    }
    return from_runs(starts, ends, size);
}

Mask from_runs(const std::vector<Index>& starts, const std::vector<Index>& ends, Size size) {
    Mask mask{size, {}};
    Index at = 0;
    for (std::size_t i = 0; i < starts.size(); ++i) {
        if (i > 0 && starts[i] == ends[i - 1]) {
            mask.counts.back() += ends[i] - starts[i];
        } else {
            mask.counts.push_back(starts[i] - at);
            mask.counts.push_back(ends[i] - starts[i]);
        }
        at = ends[i];
    }
    const Index rest = size.height * size.width - at;
    if (rest > 0) mask.counts.push_back(rest);
    return mask;
}

void check_runs(Index number) {
    if (number > MAX_RUNS) {
        throw AnswerError("the masks of this picture need more than " + std::to_string(MAX_RUNS) +
                          " numbers; a smaller picture, a higher confidence_threshold or a lower max_detections gives fewer");
    }
}

}  // namespace modelport
