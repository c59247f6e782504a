"""The parity report as a table."""

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from contracts.model_package import ParitySummary
from modelport.cli import views


def view(report: dict[str, object]) -> RenderableType:
    """Outputs and predictions against the source; a report of another shape is printed as it is."""
    found = _summary(report)
    if found is None:
        return Text(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    return summary(found)


def _summary(report: dict[str, object]) -> ParitySummary | None:
    for candidate in (report.get("summary"), report.get("parity"), report):
        try:
            return msgspec.convert(candidate, ParitySummary)
        except msgspec.ValidationError:
            continue
    return None


def summary(found: ParitySummary) -> RenderableType:
    rows = (
        (o.name, f"{o.max_abs:.2e}", f"{o.max_abs_allowed:.2e}", f"{o.mean_abs:.2e}", f"{o.cosine:.6f}")
        for o in found.outputs
    )
    lines = views.facts(
        (
            ("proof", views.word(found.proof)),
            ("inputs", f"{found.inputs}, {found.non_square_inputs} of them non-square pictures"),
            ("predictions", f"{found.predictions_matched} of {found.predictions_source} matched"),
            ("largest confidence difference", f"{found.max_confidence_difference:.2e}"),
            ("smallest IoU", f"{found.min_iou:.4f}" if found.min_iou is not None else None),
            (
                "largest box difference",
                f"{found.max_box_difference_px:.3f} px" if found.max_box_difference_px is not None else None,
            ),
        )
    )
    return Group(lines, Text(), views.table(("OUTPUT", "MAX ABS", "ALLOWED", "MEAN ABS", "COSINE"), rows))
