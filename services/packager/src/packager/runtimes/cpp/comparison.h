/// How far outputs and predictions are from those expected.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "processing/arrays.h"
#include "processing/predictions.h"

namespace modelport {

/// How far predictions may be apart; `mask` is of 1 - IoU.
struct Tolerance {
    double confidence = 0.0;
    double pixels = 0.0;
    double mask = 0.0;
};

/// What a comparison found.
struct Verdict {
    bool passed = false;
    std::string detail;
};

/// A prediction as metadata's wrapper wrote it; throws an exception of nlohmann's for anything else.
Prediction from_json(const nlohmann::ordered_json& value);

/// Every prediction has its counterpart of the same class, all that belongs to it within the tolerances.
///
/// One that is within tolerance of the threshold (for a classifier, of the end of its list) may be missing on either side, and so
/// may a region of a thousandth of the picture. Boxes are compared where `boxes` says so.
Verdict compare(const std::vector<Prediction>& got, const std::vector<Prediction>& expected, std::optional<double> threshold,
                const Tolerance& tolerance, bool boxes);

/// Largest absolute difference over the largest absolute value; infinite for another number of values.
double relative_difference(const Floats& got, const Floats& expected);

/// Like `relative_difference`, for rows in any order that several outputs [1, rows, …] hold together.
double set_difference(const std::vector<Array>& got, const std::vector<Array>& expected);

}  // namespace modelport
