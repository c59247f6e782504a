"""What the demo prints at the end: one page that a person can read."""

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from demo.agreement import Row, iou
from demo.walk import Outcome
from modelport.predictions import Prediction


def show(outcome: Outcome, console: Console) -> None:
    """The three lists side by side, then figures and places."""
    wrappers = "wrapper" if outcome.cpp.lacks else "wrappers"
    verdict = f"[bold green]source, {wrappers} and endpoint agree[/]"
    if not outcome.agrees:
        verdict = f"[bold red]source, {wrappers} and endpoint DO NOT agree[/]"
    in_cpp = [] if outcome.cpp.lacks else ["C++ wrapper"]
    sides = ["source (Ultralytics)", "Python wrapper", *in_cpp, "endpoint (Triton)"]
    console.print(Panel(Group(_predictions(outcome.rows, sides), "", _facts(outcome)), title=verdict, expand=False))


def _predictions(rows: list[Row], sides: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", *sides, "lowest IoU"):
        table.add_column(heading)
    for row in rows:
        found = (row.source, *row.others)
        overlap = min((iou(row.source, other) if row.source and other else 0.0) for other in found[1:])
        table.add_row("[green]✓[/]" if row.agrees else "[red]✗[/]", *(_words(one) for one in found), f"{overlap:.4f}")
    return table


def _words(found: Prediction | None) -> str:
    if found is None:
        return "[red]nothing[/]"
    box = ", ".join(f"{value:.1f}" for value in found.bbox) if found.bbox else ""
    return f"{found.class_name} {found.confidence:.4f}\n[dim]{box}[/]"


def _facts(outcome: Outcome) -> Table:
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in outcome.sample.metrics.items())
    parity = outcome.job.parity
    facts = {
        "sample": f"{outcome.sample.recipe.model_name}, {metrics} on held-out pictures, trained in {outcome.sample.seconds:.0f} s",
        "proof": f"{outcome.job.proof}" + (f", {parity_words(outcome)}" if parity else ""),
        "sizes": f"checkpoint {_megabytes(outcome.sample.checkpoint.stat().st_size)}, "
        f"model {_megabytes(outcome.job.model_size_bytes or 0)}, package {_megabytes(outcome.package.stat().st_size)}",
        "latency": f"wrapper {outcome.wrapper.milliseconds:.1f} ms, endpoint {outcome.inference.latency_ms:.1f} ms "
        f"({outcome.round_trip_ms:.1f} ms with the way there and back)",
        "C++": escape(outcome.cpp.lacks) or f"runtimes/cpp, compiled here: {len(outcome.cpp.predictions)} predictions",
        "trace": f"{outcome.trace_id}  (modelport trace {outcome.job.id})",
        "picture": f"{outcome.picture} → {outcome.drawn}",
        "package": str(outcome.package),
        "time": f"{outcome.seconds:.1f} s from the training event to the drawn picture",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts.items():
        table.add_row(f"[bold]{name}[/]", value)
    return table


def parity_words(outcome: Outcome) -> str:
    """The parity summary in one line."""
    parity = outcome.job.parity
    if parity is None:
        return "no parity report"
    worst = max((output.max_abs for output in parity.outputs), default=0.0)
    matched = f"{parity.predictions_matched} of {parity.predictions_source} predictions matched"
    return f"largest difference {worst:.1e} over {parity.inputs} inputs, {matched}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
