"""The gate: source and artefact on the same pictures, each by its own way to predictions; what differs too much does not leave."""

import statistics
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from contracts.keys import METADATA, PARITY_REPORT
from contracts.model_package import Performance
from contracts.vocabulary import Proof
from export_worker import describe, registry
from export_worker.loaded import Array, Found, Picture, Runtime, Work
from export_worker.parity import divergence, gate, goldens
from export_worker.parity.candidate import Candidate, Trial
from export_worker.parity.compare import Comparison
from export_worker.parity.matching import Match, match
from export_worker.parity.pictures import pictures
from export_worker.parity.report import InputReport, ParityReport
from export_worker.parity.ties import Choices
from export_worker.parity.tolerances import Tolerance, tolerance
from export_worker.scan import scan
from processing.decoders import Kind
from processing.geometry import Geometry
from processing.pipeline import Pipeline

LOW_CONFIDENCE = 0.01
BATCH = 3
ROUNDING = 1e-6
"""Relative; what float32 sums in another order differ by."""


def verify(work: Work) -> Work:
    """Writes the parity report, golden vectors and metadata; raises Permanent("parity_failed") naming the first difference."""
    loaded, artefact = work.need_loaded(), work.need_artefact()
    limits = tolerance(work.request.export_format, artefact.precision)
    runtime: Runtime = registry.resolve(registry.RUNTIMES[work.request.export_format])(artefact)
    draft = describe.draft(work.request, loaded, artefact)
    candidate = Candidate(loaded, artefact, runtime, Pipeline.from_metadata(draft))
    choices = Choices(loaded, candidate.names, limits, LOW_CONFIDENCE)
    trials = _trials(work, candidate, choices)
    report = _judge(work, candidate, trials, choices)
    (work.output / PARITY_REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if report.proof is Proof.FAILED:
        raise gate.refusal(report)
    work.progress(0.95, "Writing golden vectors and metadata")
    goldens.write(work.output, candidate.pipeline, trials, LOW_CONFIDENCE, artefact.precision)
    # the speed of a stand-in says nothing of the artefact
    performance = _performance(candidate, trials) if report.proof is Proof.VERIFIED else None
    metadata = describe.metadata(work, draft, report.summary, performance)
    (work.output / METADATA).write_bytes(msgspec.json.format(msgspec.json.encode(metadata), indent=2))
    return work


def _trials(work: Work, candidate: Candidate, choices: Choices) -> list[Trial]:
    everything = pictures()
    trials = []
    for index, picture in enumerate(everything):
        trials.append(_trial(candidate, picture, choices))
        if index % 4 == 3:
            work.progress(0.9 * (index + 1) / len(everything), f"{index + 1} of {len(everything)} pictures compared")
    return trials


def _trial(candidate: Candidate, picture: Picture, choices: Choices) -> Trial:
    source = candidate.loaded.source(picture, LOW_CONFIDENCE, candidate.artefact.postprocessing.nms.iou_threshold)
    tensor, geometry = candidate.pipeline.preprocess(picture)
    start = time.perf_counter()
    outputs = candidate.run(tensor)
    milliseconds = (time.perf_counter() - start) * 1000
    source = choices.settle(picture, source, outputs)
    expected = candidate.expected(source.outputs)
    matched = _match(candidate, source.found, outputs, expected, geometry, choices.limits)
    return Trial(picture, tensor, geometry, source._replace(found=()), expected, outputs, matched, milliseconds)


def _judge(work: Work, candidate: Candidate, trials: Sequence[Trial], choices: Choices) -> ParityReport:
    limits = choices.limits
    comparison = _comparison(candidate, limits)
    matches = [trial.match for trial in trials]
    inputs = [_input_report(index, trial, candidate, comparison) for index, trial in enumerate(trials)]
    batch = _batch_difference(candidate, trials, comparison, choices)
    unstable = _instability(candidate, trials, limits) if comparison.flipped else 0.0
    failures = gate.failures(comparison, inputs, matches, limits, batch, unstable)
    summary = gate.summary(comparison, inputs, matches, Proof.FAILED if failures else candidate.runtime.proof)
    worst = gate.worst_input(inputs)
    return ParityReport(
        proof=summary.proof,
        export_format=work.request.export_format,
        runtime=candidate.runtime.name,
        tolerance=limits,
        confidence_threshold=LOW_CONFIDENCE,
        note=" ".join(filter(None, (gate.note(summary, matches), choices.note, candidate.loaded.note))),
        summary=summary,
        batch_max_abs=batch,
        failures=failures,
        first_divergence=divergence.first(candidate.artefact, trials[worst].tensor, limits) if failures else None,
        scan=scan(work.checkpoint),
        inputs=tuple(inputs),
    )


def _comparison(candidate: Candidate, limits: Tolerance) -> Comparison:
    post, classes = candidate.artefact.postprocessing, len(candidate.loaded.classes)
    return Comparison.described(candidate.names, post, classes, limits)


def _match(
    candidate: Candidate,
    source: Sequence[Found],
    outputs: Sequence[Array],
    expected: Sequence[Array],
    geometry: Geometry,
    limits: Tolerance,
) -> Match:
    """Final predictions of both.

    Where they differ, the shipped post-processing is given the source's own output: if it then finds what the framework finds, the
    difference comes from a tie that small differences of tensors decide (those have a limit of their own, and so have such ties), else
    from the post-processing.
    """
    found = candidate.predict(outputs, geometry, LOW_CONFIDENCE) if _finite(outputs) else ()
    direct = _compare(candidate, source, found, limits)
    if not direct.clear or not _finite(expected):
        return direct
    replayed = candidate.predict(expected, geometry, LOW_CONFIDENCE)
    same = _compare(candidate, source, replayed, limits)
    if same.clear:
        return direct
    return direct._replace(
        edge=max(direct.source, direct.artefact) - direct.matched,
        clear=0,
        strict=0,
        tied=direct.clear,
        tied_strict=direct.strict,
    )


def _compare(candidate: Candidate, source: Sequence[Found], other: Sequence[Found], limits: Tolerance) -> Match:
    post = candidate.artefact.postprocessing
    detects = candidate.pipeline.post.detects
    return match(
        source,
        other,
        limits,
        threshold=LOW_CONFIDENCE if detects else 0.0,
        default=post.nms.confidence_threshold,
        limit=post.top_k if candidate.pipeline.post.traits.kind is Kind.CLASSES else post.nms.max_detections,
        regions=candidate.pipeline.post.traits.kind is Kind.REGIONS,
    )


def _finite(outputs: Sequence[Array]) -> bool:
    return all(bool(np.isfinite(one).all()) for one in outputs)


def _instability(candidate: Candidate, trials: Sequence[Trial], limits: Tolerance) -> float:
    """The fraction of boxes that the source's own suppression decides otherwise when its output is off by rounding."""
    rng = np.random.default_rng(0)
    nudged = _comparison(candidate, limits)
    for trial in trials:
        noisy = [
            (one * (rng.uniform(-ROUNDING, ROUNDING, one.shape) + 1)).astype(np.float32) for one in trial.source.outputs
        ]
        moved = candidate.expected(noisy)
        nudged.add(trial.expected, moved, candidate.pool(trial.source))
    return nudged.flipped / max(nudged.rows, 1)


def _input_report(index: int, trial: Trial, candidate: Candidate, comparison: Comparison) -> InputReport:
    prepared, matched = candidate.prepared(trial.tensor), trial.match
    same = prepared.shape == trial.source.tensor.shape
    return InputReport(
        index=index,
        height=trial.picture.shape[0],
        width=trial.picture.shape[1],
        preprocessing_max_abs=float(np.abs(prepared - trial.source.tensor).max()) if same else float("inf"),
        outputs_max_abs=comparison.add(trial.expected, trial.outputs, candidate.pool(trial.source)),
        predictions_source=matched.source,
        predictions_artefact=matched.artefact,
        predictions_matched=matched.matched,
        predictions_on_the_edge=matched.edge,
        min_iou=matched.min_iou,
        max_box_difference_px=matched.max_pixels,
        max_confidence_difference=matched.max_confidence,
        min_mask_iou=matched.min_mask_iou,
        max_keypoint_difference_px=matched.max_keypoint,
        source_ms=round(trial.source.milliseconds, 3),
        artefact_ms=round(trial.milliseconds, 3),
    )


def _batch_difference(
    candidate: Candidate, trials: Sequence[Trial], comparison: Comparison, choices: Choices
) -> float | None:
    """Three pictures in one batch (fewer where it takes no three) against the source: an exporter that froze the batch shows here."""
    if not candidate.artefact.dynamic_batch:
        return None
    some = trials[: min(BATCH, candidate.artefact.max_batch or BATCH)]
    together = candidate.runtime(np.concatenate([trial.tensor for trial in some]))
    if any(one.shape[0] != len(some) for one in together):
        return float("inf")
    worst = 0.0
    for i, trial in enumerate(some):
        made = [one[i : i + 1] for one in together]
        source = choices.settle(trial.picture, trial.source, made)
        expected = trial.expected if source is trial.source else candidate.expected(source.outputs)
        worst = max(worst, *comparison.add(expected, made, candidate.pool(source)).values())
    return worst


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
