"""Outputs of classifiers to probabilities, float32 [C]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processing.decoders.base import Floats, single


def softmax(output: NDArray[np.generic]) -> Floats:
    """Logits [1, C]."""
    logits = single(output, 2)
    exponent = np.exp(logits - logits.max())
    probabilities: Floats = exponent / exponent.sum()
    return probabilities


def probabilities(output: NDArray[np.generic]) -> Floats:
    """Class probabilities [1, C]."""
    return single(output, 2)
