/// Outputs of classifiers to probabilities, one a class.
#pragma once

#include "processing/decoders/base.h"

namespace modelport {

/// Logits [1, C].
Floats softmax(const Raw& outputs);

/// Class probabilities [1, C].
Floats probabilities(const Raw& outputs);

}  // namespace modelport
