/// DETR's families: a set of queries, each with class logits and a box as fractions of the input; nothing to suppress.
#pragma once

#include "processing/decoders/base.h"

namespace modelport {

/// [1, Q, C + 1], the last class being "no object", and [1, Q, 4]; each query stands for its best class.
Candidates detr_softmax(const Raw& outputs, const Model& model, double confidence);

/// [1, Q, C] and [1, Q, 4]: the best Q of all pairs of a query and a class, so that a query may be there twice.
Candidates detr_sigmoid(const Raw& outputs, const Model& model, double confidence);

/// 1 / (1 + exp(-x)) without overflow.
float sigmoid(float x);

}  // namespace modelport
