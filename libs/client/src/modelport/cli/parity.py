"""The parity report as a table."""

import msgspec
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.text import Text

from contracts.model_package import ParitySummary
from modelport.cli import views


class _Failure(Struct):
    what: str
    measured: float
    allowed: float
    input: int | None = None


class _Divergence(Struct):
    layer: str
    tensor: str
    max_abs: float | None
    allowed: float
    module: str = ""
    operator: str = ""
    explanation: str = ""


class _Scan(Struct):
    tool: str
    verdict: str
    found: tuple[str, ...] = ()


class _Report(Struct):
    summary: ParitySummary
    runtime: str = ""
    note: str = ""
    failures: tuple[_Failure, ...] = ()
    first_divergence: _Divergence | None = None
    scan: _Scan | None = None


def view(report: dict[str, object]) -> RenderableType:
    """Outputs and predictions against the source; a report of another shape is printed as it is."""
    try:
        found = msgspec.convert(report, _Report)
    except msgspec.ValidationError:
        return Text(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    parts = [_facts(found), Text(), _outputs(found.summary)]
    if found.failures:
        rows = ((f.what, _short(f.measured), _short(f.allowed), str(f.input or "")) for f in found.failures)
        parts += [Text(), views.table(("OVER THE LIMIT", "MEASURED", "ALLOWED", "INPUT"), rows)]
    if found.first_divergence:
        first = found.first_divergence
        largest = "not finite" if first.max_abs is None else _short(first.max_abs)
        where = f"first differs in {first.layer} ({first.module} → {first.operator or first.tensor}): {largest}"
        parts += [Text(f"{where}, allowed {_short(first.allowed)}", style="red"), Text(first.explanation)]
    return Group(*parts)


def _facts(report: _Report) -> RenderableType:
    found = report.summary
    pixels = found.max_box_difference_px
    return views.facts(
        (
            ("proof", views.word(found.proof)),
            ("runtime", report.runtime),
            ("inputs", f"{found.inputs}, {found.non_square_inputs} of them non-square pictures"),
            ("predictions", f"{found.predictions_matched} of {found.predictions_source} matched"),
            ("largest confidence difference", _short(found.max_confidence_difference)),
            ("smallest IoU", f"{found.min_iou:.6f}" if found.min_iou is not None else None),
            ("largest box difference", f"{pixels:.4f} px" if pixels is not None else None),
            ("note", report.note),
            ("scan, a label only", " ".join((s.tool, s.verdict, *s.found)) if (s := report.scan) else None),
        )
    )


def _outputs(found: ParitySummary) -> RenderableType:
    rows = (
        (o.name, _short(o.max_abs), _short(o.max_abs_allowed), _short(o.mean_abs), f"{o.cosine:.8f}")
        for o in found.outputs
    )
    return views.table(("OUTPUT", "MAX ABS", "ALLOWED", "MEAN ABS", "COSINE"), rows)


def _short(value: float) -> str:
    return f"{value:.2e}"
