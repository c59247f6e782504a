"""golden_vectors.npz: a few pictures with their tensors, outputs and predictions, for the wrappers of every language to be held to."""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from contracts.keys import GOLDENS
from export_worker.loaded import Array
from export_worker.parity.candidate import Trial
from export_worker.parity.pictures import golden_indices
from processing.pipeline import Pipeline

EPOCH = (1980, 1, 1, 0, 0, 0)


def write(folder: Path, pipeline: Pipeline, trials: Sequence[Trial], low_confidence: float) -> Path:
    """Arrays `image_{i}` (uint8 RGB), `tensor_{i}`, `output_{i}__{name}`, and `predictions`: one JSON text per picture.

    Such a text is {"confidence_threshold", "iou_threshold", "predictions": [...]} at the metadata's default thresholds, or at a
    low one if the defaults let nothing through; thresholds are null for a classifier.
    """
    chosen = [trials[index] for index in golden_indices()]
    confidence = _confidence(pipeline, chosen, low_confidence)
    arrays: dict[str, Array] = {}
    texts = []
    for number, trial in enumerate(chosen):
        named = dict(zip(pipeline.output_names, trial.outputs, strict=True))
        arrays[f"image_{number}"] = trial.picture
        arrays[f"tensor_{number}"] = trial.tensor
        arrays.update({f"output_{number}__{name}": value for name, value in named.items()})
        found = pipeline.postprocess(named, trial.geometry, confidence=confidence)
        iou = pipeline.post.iou if pipeline.post.detects else None
        answer = {"confidence_threshold": confidence, "iou_threshold": iou, "predictions": [p.as_dict() for p in found]}
        texts.append(json.dumps(answer))
    arrays["predictions"] = np.array(texts)
    path = folder / GOLDENS
    path.write_bytes(packed(arrays))
    return path


def packed(arrays: dict[str, Array]) -> bytes:
    """An .npz whose bytes depend on the arrays alone: no clock, no order of insertion."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.save(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return target.getvalue()


def _confidence(pipeline: Pipeline, chosen: Sequence[Trial], low: float) -> float | None:
    if not pipeline.post.detects:
        return None
    for trial in chosen:
        named = dict(zip(pipeline.output_names, trial.outputs, strict=True))
        if pipeline.postprocess(named, trial.geometry):
            return pipeline.post.confidence
    return low
