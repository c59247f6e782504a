"""docs/zoo.md: one row per architecture, how often the preflight was right, and every failure and wrong forecast by name."""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.zoo_cells import ASKED, Cell
from bench.zoo_models import ZOO
from contracts.vocabulary import ExportFormat

PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"
MEGABYTE = 1e6
HEAD = """# The zoo: what a preflight says, and what becomes of it

Written by `python -m bench.zoo --write`. Small models of many architectures with random weights (normalisation statistics and constant
parameters randomised, see `bench/zoo_weights.py`) are looked at by the preflight and then exported to every format by the worker's own
child, whatever the preflight said. An export has succeeded where the whole job did, the comparison with its source included. Options are
each format's own defaults (Core ML and TensorRT: float16), but TensorRT is the flavor `rtx`, which is built and not executed: the difference
shown is that of the ONNX model that it was built from.

Random weights make queries and classes lie closer together than training does: the score layers of detectors with queries are made louder
so that boxes pass the threshold, but at most four times, as what answers all queries alike is only rounding. A failure of the comparison
alone, after a conversion that went through, cannot be seen by a preflight, which compares nothing."""
MISSED = """A conversion that went through and a comparison that failed is not seen by the preflight. RT-DETR in float16 probably keeps other queries
than its source, where scores lie closer than 11 bits tell apart, which is common among random weights (not isolated); the same models in
float32 (ONNX, OpenVINO, TorchScript) are compared in their own columns."""
LEGEND = """A cell: the proof that was earned, the largest difference of an output from the source's, predictions matched of those that the source
made at the low threshold (32 pictures), CPU seconds of the job without imports, megabytes. **failed** is told below the table; (foretold) or
(missed) says whether the preflight had said so, *false alarm* that it had not needed to."""


def write(cells: Sequence[Cell]) -> None:
    """The page of these cells, in their order."""
    parts = [HEAD, _stand(cells), _score(cells), LEGEND, _table(cells), _failures(cells), _alarms(cells)]
    PAGE.write_text("\n\n".join(filter(None, parts)) + "\n")


def shares(cells: Iterable[Cell]) -> tuple[float, float]:
    """Of the failures that were foretold, and of the exports that worked and were said to fail; 1 and 0 where there are none."""
    told = list(cells)
    failed, worked = [cell for cell in told if not cell.proof], [cell for cell in told if cell.proof]
    foretold = sum(cell.is_right for cell in failed) / len(failed) if failed else 1.0
    false = sum(not cell.is_right for cell in worked) / len(worked) if worked else 0.0
    return foretold, false


def _stand(cells: Sequence[Cell]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True
    ).stdout.strip()
    models, whole = len({cell.label for cell in cells}), len(ZOO) * len(ExportFormat)
    absent = sorted(set(ZOO) - {cell.label for cell in cells})
    lacking = f" Not run: {', '.join(absent)}." if absent else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}, {os.cpu_count()} cores ({platform.machine()}), one thread a job: "
        f"{models} of {len(ZOO)} architectures, {len(cells)} of {whole} cells were run.{lacking}"
    )


def _score(cells: Sequence[Cell]) -> str:
    counts = {(said, was): 0 for said in (True, False) for was in (True, False)}
    for cell in cells:
        counts[cell.foretold.supported, cell.proof is not None] += 1
    foretold, false = shares(cells)
    failures = counts[True, False] + counts[False, False]
    worked = counts[True, True] + counts[False, True]
    looks = {label: max(c.looked_s for c in cells if c.label == label) for label in {c.label for c in cells}}
    slowest = max(looks, key=lambda label: looks[label], default="")
    return (
        "| | export worked | export failed |\n|---|---|---|\n"
        f"| preflight: will work | {counts[True, True]} | {counts[True, False]} (missed) |\n"
        f"| preflight: will fail | {counts[False, True]} (false alarms) | {counts[False, False]} (foretold) |\n\n"
        f"Failures foretold: {counts[False, False]} of {failures}, {100 * foretold:.1f} % (wanted: 95 % or more). "
        f"False alarms: {counts[False, True]} of {worked} exports that worked, {100 * false:.1f} % (wanted: 5 % or less).\n\n"
        f"A preflight of all formats took {sum(looks.values()) / max(1, len(looks)):.1f} CPU seconds on average, {looks.get(slowest, 0.0):.1f} "
        f"at most ({slowest}), imports not counted."
    )


def _table(cells: Sequence[Cell]) -> str:
    formats = list(dict.fromkeys(cell.format for cell in cells))
    routes = {cell.format: " → ".join(cell.route) for cell in cells if cell.route}
    options = {name: "".join(f" {key}={value}" for key, value in ASKED.get(name, {}).items()) for name in formats}
    by_label = {(cell.label, cell.format): cell for cell in cells}
    lines = [
        "| model | " + " | ".join(f"{name}{options[name]}" for name in formats) + " |",
        "|---" * (len(formats) + 1) + "|",
        "| *route* | " + " | ".join(routes.get(name, "") for name in formats) + " |",
    ]
    for label in dict.fromkeys(cell.label for cell in cells):
        shown = (_shown(by_label.get((label, name))) for name in formats)
        lines.append(f"| {label} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "not run"
    if cell.proof is None:
        return f"**failed** ({'foretold' if cell.is_right else 'missed'}), {cell.seconds:.1f} s"
    alarm = "" if cell.is_right else ", *false alarm*"
    return (
        f"{cell.proof}{alarm}, {cell.max_abs:.0e}, {cell.matched}/{cell.predictions}, {cell.seconds:.1f} s, "
        f"{cell.size_bytes / MEGABYTE:.1f} MB"
    )


def _failures(cells: Sequence[Cell]) -> str:
    failed = [cell for cell in cells if cell.proof is None]
    rows = (
        f"| {cell.label} | {cell.format} | {cell.code} | {_cut(cell.operator, 60)} | {_cut(cell.message)} | "
        f"{_cut(cell.foretold.reason) if cell.is_right else '**it would work**'} |"
        for cell in failed
    )
    return "\n".join(("## Failures", "", MISSED, "", "| model | format | code | operator | what the job said | what the preflight said |",
                      "|---|---|---|---|---|---|", *rows)) if failed else "## Failures\n\nNone."  # fmt: skip


def _alarms(cells: Sequence[Cell]) -> str:
    false = [cell for cell in cells if cell.proof is not None and not cell.is_right]
    rows = (f"- {cell.label}, {cell.format}: {_cut(cell.foretold.reason)}" for cell in false)
    return "\n".join(("## False alarms", "", *rows)) if false else "## False alarms\n\nNone."


def _cut(text: str, limit: int = 220) -> str:
    """For a cell of a table."""
    plain = " ".join(text.split()).replace("|", "\\|")
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
