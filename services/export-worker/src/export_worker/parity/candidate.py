"""The artefact on its own runtime, behind the pre- and post-processing that its package carries, and its trials against the source."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from export_worker.loaded import Array, Artefact, Found, Loaded, Picture, Runtime, SourceRun
from export_worker.parity.matching import Match
from export_worker.parity.rowsets import candidates
from processing.geometry import Geometry
from processing.pipeline import Pipeline


class Trial(NamedTuple):
    """One picture through both; what `source` found is gone once it was matched, as masks of every picture would fill the memory."""

    picture: Picture
    tensor: Array
    geometry: Geometry
    source: SourceRun
    expected: tuple[Array, ...]
    """The source's outputs as the artefact's graph would give them."""
    outputs: list[Array]
    match: Match
    milliseconds: float


class Candidate:
    """The artefact on its own runtime, behind the pre- and post-processing that its package carries."""

    def __init__(self, loaded: Loaded, artefact: Artefact, runtime: Runtime, pipeline: Pipeline) -> None:
        self.loaded, self.artefact, self.runtime, self.pipeline = loaded, artefact, runtime, pipeline
        self.names = [spec.name for spec in artefact.output_specs]

    def run(self, tensor: Array) -> list[Array]:
        """Batch 1 in, batch 1 out; an artefact of a fixed batch gets the same picture in every place."""
        if self.artefact.dynamic_batch or self.artefact.batch == 1:
            return self.runtime(tensor)
        return [output[:1] for output in self.runtime(np.repeat(tensor, self.artefact.batch, axis=0))]

    def predict(self, outputs: Sequence[Array], geometry: Geometry, confidence: float) -> tuple[Found, ...]:
        named = dict(zip(self.names, outputs, strict=True))
        asked = confidence if self.pipeline.post.detects else None
        found = self.pipeline.postprocess(named, geometry, confidence=asked)
        return tuple(
            Found(
                p.class_id,
                p.confidence,
                p.bbox,
                p.rotated_box,
                None if p.keypoints is None else np.array(p.keypoints, np.float32).reshape(-1, 3),
                None if p.mask is None else p.mask.array(),
            )
            for p in found
        )

    def prepared(self, tensor: Array) -> Array:
        """The tensor that reaches the model itself, whatever of the preprocessing the graph does."""
        pixels = self.artefact.graph.pixels
        with torch.inference_mode():
            made: Array = pixels(torch.from_numpy(tensor.copy())).numpy()
        return made

    def expected(self, raw: Sequence[Array]) -> tuple[Array, ...]:
        """The source's own outputs as the graph's suppression would give them."""
        if not self.artefact.postprocessing.nms.embedded:
            return tuple(raw)
        with torch.inference_mode():
            return (self.artefact.graph.suppression(torch.from_numpy(raw[0])).numpy(),)

    def pool(self, source: SourceRun) -> Array | None:
        """Every box before the suppression that the graph contains; None where it contains none."""
        if not self.artefact.postprocessing.nms.embedded:
            return None
        return candidates(source.outputs[0][0].astype(np.float64))
