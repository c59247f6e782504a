"""The verdict over all inputs: which limits were exceeded, the summary that travels in metadata.json, the sentence a user reads."""

from collections.abc import Sequence

from contracts.errors import Permanent
from contracts.model_package import ParitySummary
from contracts.vocabulary import Proof
from export_worker.parity.compare import Comparison
from export_worker.parity.matching import Match
from export_worker.parity.report import Failure, InputReport, ParityReport
from export_worker.parity.tolerances import Tolerance


class ParityError(Permanent):
    """Raised with the name of the first tensor that differs."""

    def __init__(self, message: str, operator: str) -> None:
        super().__init__("parity_failed", message)
        self.operator = operator


def failures(
    comparison: Comparison,
    inputs: Sequence[InputReport],
    matches: Sequence[Match],
    limits: Tolerance,
    batch: float | None,
    unstable: float = 0.0,
) -> tuple[Failure, ...]:
    """Every limit that was exceeded, in the order of the data's way: input, output, predictions.

    `unstable` is the fraction of boxes that the source's own suppression decides otherwise when its scores are off by rounding.
    """
    return (
        *_input_failures(inputs, limits),
        *_output_failures(comparison, batch, unstable),
        *_prediction_failures(matches, limits),
    )


def _input_failures(inputs: Sequence[InputReport], limits: Tolerance) -> list[Failure]:
    over = [each for each in inputs if not each.preprocessing_max_abs <= limits.input]
    if not over:
        return []
    worst = max(over, key=lambda each: each.preprocessing_max_abs)
    what = f"prepared tensor, {len(over)} of {len(inputs)} inputs"
    return [Failure(what=what, measured=worst.preprocessing_max_abs, allowed=limits.input, input=worst.index)]


def _output_failures(comparison: Comparison, batch: float | None, unstable: float) -> list[Failure]:
    found = []
    if comparison.source_is_broken:
        found.append(Failure(what="the source model's own output: NaN or infinity", measured=float("inf"), allowed=0.0))
    if comparison.bad:
        found.append(
            Failure(
                what=f"{', '.join(comparison.names)}: NaN, infinity or another shape",
                measured=float("inf"),
                allowed=0.0,
            )
        )
    for part in comparison.result():
        if not part.max_abs <= part.max_abs_allowed:
            found.append(Failure(what=f"{part.name}, max abs", measured=part.max_abs, allowed=part.max_abs_allowed))
        if not part.cosine >= comparison.tolerance.cosine:
            found.append(
                Failure(what=f"{part.name}, cosine", measured=part.cosine, allowed=comparison.tolerance.cosine)
            )
    if batch == float("inf"):
        found.append(
            Failure(what=f"{', '.join(comparison.names)}: a batch gives another shape", measured=batch, allowed=0.0)
        )
    flipped = comparison.flipped / max(comparison.rows, 1)
    allowed = max(1 - comparison.tolerance.matched, 2 * unstable)
    if flipped > allowed:
        found.append(
            Failure(
                what=f"{', '.join(comparison.names)}: boxes suppressed otherwise", measured=flipped, allowed=allowed
            )
        )
    return found


def _prediction_failures(matches: Sequence[Match], limits: Tolerance) -> list[Failure]:
    found = []
    clear = sum(m.clear for m in matches)
    total = sum(max(m.source, m.artefact) for m in matches)
    if total and (total - clear) / total < limits.matched:
        found.append(Failure(what="predictions matched", measured=(total - clear) / total, allowed=limits.matched))
    tied = (
        ("predictions decided otherwise by ties", sum(m.tied for m in matches), total),
        (
            "confident predictions decided otherwise by ties",
            sum(m.tied_strict for m in matches) / 2,
            sum(m.confident for m in matches),
        ),
    )
    for what, count, of in tied:
        if count > max(limits.tied * of, 1):
            found.append(Failure(what=what, measured=count / max(of, 1), allowed=limits.tied))
    for index, one in enumerate(matches):
        if one.strict:
            found.append(
                Failure(what="confident predictions without a partner", measured=one.strict, allowed=0, input=index)
            )
    return found


def summary(
    comparison: Comparison, inputs: Sequence[InputReport], matches: Sequence[Match], proof: Proof
) -> ParitySummary:
    """What metadata.json, the API and the README say."""
    overlaps = [m.min_iou for m in matches if m.min_iou is not None]
    pixels = [m.max_pixels for m in matches if m.max_pixels is not None]
    return ParitySummary(
        proof=proof,
        inputs=len(inputs),
        non_square_inputs=sum(each.height != each.width for each in inputs),
        outputs=comparison.result(),
        predictions_source=sum(m.source for m in matches),
        predictions_matched=sum(m.matched for m in matches),
        max_confidence_difference=max(m.max_confidence for m in matches),
        min_iou=min(overlaps, default=None),
        max_box_difference_px=max(pixels, default=None),
        min_mask_iou=min((m.min_mask_iou for m in matches if m.min_mask_iou is not None), default=None),
        max_keypoint_difference_px=max((m.max_keypoint for m in matches if m.max_keypoint is not None), default=None),
    )


def worst_input(inputs: Sequence[InputReport]) -> int:
    """The input whose outputs differ most."""
    return max(inputs, key=lambda each: max(each.outputs_max_abs.values())).index


def note(result: ParitySummary, matches: Sequence[Match]) -> str:
    """What a reader has to know about the predictions."""
    if result.predictions_source == 0:
        return "The source model finds nothing on these pictures even at the low threshold: only tensors were compared."
    edge = sum(m.edge for m in matches)
    tied = f" {edge} of them differ where rounding decides: at a threshold, at the end of a list or between ties."
    return "Tensors and final predictions were compared." + (tied if edge else "")


def refusal(report: ParityReport) -> ParityError:
    """The error of a failed report: what differs, by how much, and where it begins."""
    first = report.failures[0]
    where = first.what
    operator, why = first.what, ""
    if first.what.startswith("prepared tensor"):
        operator = "preprocessing"
    elif report.first_divergence is not None:
        operator = report.first_divergence.layer
        where = f"{first.what}; the first layer that differs is {operator} ({report.first_divergence.module})"
        why = f" {report.first_divergence.explanation}"
    return ParityError(
        f"{report.export_format} differs from the source in {where}: {first.measured:.3g} measured, {first.allowed:.3g} allowed.{why}",
        operator,
    )
