"""DETR's families: a set of queries, each with class logits and a box as fractions of the input; nothing to suppress."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processing.decoders.base import Candidates, Floats, Model, corners, single, wrong

Raw = NDArray[np.generic]


def detr_softmax(logits: Raw, boxes: Raw, model: Model, confidence: float) -> Candidates:
    """[1, Q, C + 1], the last class being "no object", and [1, Q, 4]; each query stands for its best class."""
    raw, where = _queries(logits, boxes)
    if raw.shape[1] < 2:
        raise wrong(f"needs logits [1, Q, classes + 1], got {logits.shape}")
    exponent = np.exp(raw - raw.max(axis=1, keepdims=True))
    likely = (exponent / exponent.sum(axis=1, keepdims=True))[:, :-1]
    scores = likely.max(axis=1)
    chosen = np.flatnonzero(scores > np.float32(confidence))
    return Candidates(_pixels(where[chosen], model), scores[chosen], likely[chosen].argmax(axis=1))


def detr_sigmoid(logits: Raw, boxes: Raw, model: Model, confidence: float) -> Candidates:
    """[1, Q, C] and [1, Q, 4]: the best Q of all pairs of a query and a class, so that a query may be there twice."""
    raw, where = _queries(logits, boxes)
    scores = sigmoid(raw).ravel()
    chosen = np.flatnonzero(scores > np.float32(confidence))
    best = chosen[np.argsort(-scores[chosen], kind="stable")[: len(raw)]]
    query, label = np.divmod(best, raw.shape[1])
    return Candidates(_pixels(where[query], model), scores[best], label)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    ratio: Floats = np.where(x >= 0, np.float32(1), small) / (np.float32(1) + small)
    return ratio


def _queries(logits: Raw, boxes: Raw) -> tuple[Floats, Floats]:
    raw, where = single(logits, 3), single(boxes, 3)
    if where.shape != (len(raw), 4) or raw.shape[1] < 1:
        raise wrong(f"needs logits [1, Q, classes] and boxes [1, Q, 4], got {logits.shape} and {boxes.shape}")
    return raw, where


def _pixels(centred: Floats, model: Model) -> Floats:
    """Fractions cx cy w h to x1 y1 x2 y2 in input pixels."""
    height, width = model.input_size
    return corners(centred) * np.array([width, height, width, height], np.float32)
