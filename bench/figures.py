"""Percentiles, ratios and Markdown tables."""

from collections.abc import Iterable, Sequence
from statistics import median

__all__ = ["median", "percentile", "table", "verdict"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(percent / 100 * len(ordered) + 0.5) - 1))]


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def verdict(ratio: float, target: float, *, at_least: bool = False) -> str:
    """A ratio beside its target, and whether it was met."""
    met = ratio >= target if at_least else ratio <= target
    return f"**{ratio:.2f}** (target {'≥' if at_least else '≤'} {target:.2f}: {'met' if met else 'missed'})"
