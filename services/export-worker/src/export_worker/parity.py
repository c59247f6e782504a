"""The gate: source and artefact on the same pictures, each by its own way to predictions; what differs too much does not leave."""

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import torch

from contracts.keys import METADATA, PARITY_REPORT
from contracts.model_package import Performance
from contracts.vocabulary import Proof
from export_worker import describe, divergence, gate, goldens, registry
from export_worker.compare import Comparison
from export_worker.loaded import Array, Artefact, Found, Loaded, Picture, Runtime, SourceRun, Work
from export_worker.matching import Match, match
from export_worker.pictures import pictures
from export_worker.report import InputReport, ParityReport
from export_worker.tolerances import Tolerance, tolerance
from processing.geometry import Geometry
from processing.pipeline import Pipeline

LOW_CONFIDENCE = 0.01
BATCH = 3


class Trial(NamedTuple):
    """One picture through both."""

    picture: Picture
    tensor: Array
    geometry: Geometry
    source: SourceRun
    expected: Array
    """The source's output as the artefact's graph would give it."""
    outputs: list[Array]
    found: tuple[Found, ...]
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

    def predict(self, outputs: list[Array], geometry: Geometry, confidence: float) -> tuple[Found, ...]:
        named = dict(zip(self.names, outputs, strict=True))
        asked = confidence if self.pipeline.post.detects else None
        found = self.pipeline.postprocess(named, geometry, confidence=asked)
        return tuple(Found(p.class_id, p.confidence, p.bbox) for p in found)

    def prepared(self, tensor: Array) -> Array:
        """The tensor that reaches the model itself, whatever of the preprocessing the graph does."""
        pixels = self.artefact.graph.pixels
        with torch.inference_mode():
            made: Array = pixels(torch.from_numpy(tensor.copy())).numpy()
        return made

    def expected(self, raw: Array) -> Array:
        with torch.inference_mode():
            made: Array = self.artefact.graph.suppression(torch.from_numpy(raw)).numpy()
        return made


def verify(work: Work) -> Work:
    """Writes the parity report, golden vectors and metadata; raises Permanent("parity_failed") naming the first difference."""
    loaded, artefact = work.need_loaded(), work.need_artefact()
    limits = tolerance(work.request.export_format)
    runtime: Runtime = registry.resolve(registry.RUNTIMES[work.request.export_format])(artefact)
    draft = describe.draft(work.request, loaded, artefact)
    candidate = Candidate(loaded, artefact, runtime, Pipeline.from_metadata(draft))
    trials = _trials(work, candidate)
    report = _judge(work, candidate, trials, limits)
    (work.output / PARITY_REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if report.proof is Proof.FAILED:
        raise gate.refusal(report)
    work.progress(0.95, "Writing golden vectors and metadata")
    goldens.write(work.output, candidate.pipeline, trials, LOW_CONFIDENCE)
    metadata = describe.metadata(work, draft, report.summary, _performance(candidate, trials))
    (work.output / METADATA).write_bytes(msgspec.json.format(msgspec.json.encode(metadata), indent=2))
    return work


def _trials(work: Work, candidate: Candidate) -> list[Trial]:
    everything = pictures()
    nms = candidate.artefact.postprocessing.nms
    trials = []
    for index, picture in enumerate(everything):
        source = candidate.loaded.source(picture, LOW_CONFIDENCE, nms.iou_threshold)
        tensor, geometry = candidate.pipeline.preprocess(picture)
        start = time.perf_counter()
        outputs = candidate.run(tensor)
        milliseconds = (time.perf_counter() - start) * 1000
        finite = all(np.isfinite(output).all() for output in outputs)
        found = candidate.predict(outputs, geometry, LOW_CONFIDENCE) if finite else ()
        expected = candidate.expected(source.output)
        trials.append(Trial(picture, tensor, geometry, source, expected, outputs, found, milliseconds))
        if index % 4 == 3:
            work.progress(0.9 * (index + 1) / len(everything), f"{index + 1} of {len(everything)} pictures compared")
    return trials


def _judge(work: Work, candidate: Candidate, trials: Sequence[Trial], limits: Tolerance) -> ParityReport:
    comparison = Comparison(candidate.names[0], candidate.artefact.postprocessing.decoder, limits)
    matches = [_match(candidate, trial, limits) for trial in trials]
    inputs = [
        _input_report(index, trial, candidate, comparison, matched)
        for index, (trial, matched) in enumerate(zip(trials, matches, strict=True))
    ]
    batch = _batch_difference(candidate, trials, comparison)
    failures = gate.failures(comparison, inputs, matches, limits, batch)
    summary = gate.summary(comparison, inputs, matches, failed=bool(failures))
    worst = gate.worst_input(inputs)
    return ParityReport(
        proof=summary.proof,
        export_format=work.request.export_format,
        runtime=candidate.runtime.name,
        tolerance=limits,
        confidence_threshold=LOW_CONFIDENCE,
        note=" ".join(filter(None, (gate.note(summary), candidate.loaded.note))),
        summary=summary,
        batch_max_abs=batch,
        failures=failures,
        first_divergence=divergence.first(candidate.artefact, trials[worst].tensor, limits) if failures else None,
        inputs=tuple(inputs),
    )


def _match(candidate: Candidate, trial: Trial, limits: Tolerance) -> Match:
    post = candidate.artefact.postprocessing
    detects = candidate.pipeline.post.detects
    return match(
        trial.source.found,
        trial.found,
        limits,
        threshold=LOW_CONFIDENCE if detects else 0.0,
        default=post.nms.confidence_threshold,
        limit=post.nms.max_detections if detects else post.top_k,
    )


def _input_report(
    index: int, trial: Trial, candidate: Candidate, comparison: Comparison, matched: Match
) -> InputReport:
    prepared = candidate.prepared(trial.tensor)
    same = prepared.shape == trial.source.tensor.shape
    return InputReport(
        index=index,
        height=trial.picture.shape[0],
        width=trial.picture.shape[1],
        preprocessing_max_abs=float(np.abs(prepared - trial.source.tensor).max()) if same else float("inf"),
        outputs_max_abs={candidate.names[0]: comparison.add(trial.expected, trial.outputs[0])},
        predictions_source=matched.source,
        predictions_artefact=matched.artefact,
        predictions_matched=matched.matched,
        predictions_on_the_edge=matched.edge,
        min_iou=matched.min_iou,
        max_box_difference_px=matched.max_pixels,
        max_confidence_difference=matched.max_confidence,
        source_ms=round(trial.source.milliseconds, 3),
        artefact_ms=round(trial.milliseconds, 3),
    )


def _batch_difference(candidate: Candidate, trials: Sequence[Trial], comparison: Comparison) -> float | None:
    """Three pictures in one batch against the source: an exporter that froze the batch shows here."""
    if not candidate.artefact.dynamic_batch:
        return None
    together = candidate.runtime(np.concatenate([trial.tensor for trial in trials[:BATCH]]))[0]
    if together.shape[0] != BATCH:
        return float("inf")
    return max(comparison.add(trials[i].expected, together[i : i + 1]) for i in range(BATCH))


def _performance(candidate: Candidate, trials: Sequence[Trial]) -> Performance:
    batch = 1 if candidate.artefact.dynamic_batch else candidate.artefact.batch
    latency = statistics.median(trial.milliseconds for trial in trials)
    return Performance(
        inference_latency_ms=round(latency, 3),
        throughput_fps=round(1000 * batch / latency, 2),
        batch_size=batch,
        hardware=describe.hardware(),
        runtime=candidate.runtime.name,
        source_latency_ms=round(statistics.median(trial.source.milliseconds for trial in trials), 3),
    )
