#include "processing/decoders/base.h"

#include <algorithm>

namespace modelport {

namespace {

Matrix rows_of(const Matrix& all, const std::vector<Index>& rows) {
    Matrix made(static_cast<Index>(rows.size()), all.columns);
    float* out = made.values.data();
    for (const Index row : rows) out = std::copy_n(all.row(row), all.columns, out);
    return made;
}

}  // namespace

Candidates Candidates::take(const std::vector<Index>& rows) && {
    Candidates made;
    made.boxes = rows_of(boxes, rows);
    for (const Index row : rows) {
        made.scores.push_back(scores[static_cast<std::size_t>(row)]);
        made.classes.push_back(classes[static_cast<std::size_t>(row)]);
    }
    if (keypoints) made.keypoints = rows_of(*keypoints, rows);
    if (coefficients) made.coefficients = rows_of(*coefficients, rows);
    made.prototypes = std::move(prototypes);
    return made;
}

Shape single(const Array& output, std::size_t dimensions) {
    if (output.shape.size() != dimensions || output.shape[0] != 1) {
        throw wrong("the output's shape is " + to_string(output.shape) + ", not " + std::to_string(dimensions) +
                    "-D of batch 1");
    }
    return {output.shape.begin() + 1, output.shape.end()};
}

Planes planes(const Array& output) {
    const Shape shape = single(output, 4);
    if (elements(shape) == 0) throw wrong("the output's shape is " + to_string(output.shape) + ", which holds nothing");
    Planes made;
    made.channels = shape[0];
    made.height = shape[1];
    made.width = shape[2];
    made.values = output.values;
    return made;
}

MetadataError wrong(const std::string& message) { return {"postprocessing.decoder", message}; }

void corners(Matrix& centred) {
    for (Index i = 0; i < centred.rows; ++i) {
        float* box = centred.row(i);
        const float x = box[0], y = box[1], half_width = box[2] / 2.0f, half_height = box[3] / 2.0f;
        box[0] = x - half_width;
        box[1] = y - half_height;
        box[2] = x + half_width;
        box[3] = y + half_height;
    }
}

}  // namespace modelport
