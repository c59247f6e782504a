"""A trace as a waterfall: one line per span, indented by parent, a bar where and how long it ran."""

from collections import defaultdict
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from modelport.cli import views
from modelport.models import Span, Trace

WIDTH = 48


def view(trace: Trace) -> RenderableType:
    """The spans in the order of their tree, on one scale of time."""
    if not trace.spans:
        return Text("No spans are kept for this job yet.")
    spans = sorted(trace.spans, key=_start_ms)
    start = _start_ms(spans[0])
    total = max(_start_ms(span) + span.duration_ms for span in spans) - start or 1.0
    rows = (
        (span.service, "  " * depth + span.name, _bar(span, start, total), f"{span.duration_ms:.1f} ms")
        for depth, span in _tree(spans)
    )
    table = views.table(("SERVICE", "OPERATION", f"0 … {total / 1000:.2f} s", "DURATION"), rows)
    return Group(Text(f"trace {trace.trace_id}, {len(spans)} spans"), table)


def _start_ms(span: Span) -> float:
    return span.start.timestamp() * 1000


def _tree(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """Depth first; a span whose parent is not kept counts as a root."""
    known = {span.span_id for span in spans}
    children: defaultdict[str | None, list[Span]] = defaultdict(list)
    for span in spans:
        children[span.parent_id if span.parent_id in known else None].append(span)
    ordered: list[tuple[int, Span]] = []
    waiting = [(0, span) for span in reversed(children[None])]
    while waiting:
        depth, span = waiting.pop()
        ordered.append((depth, span))
        waiting += [(depth + 1, child) for child in reversed(children[span.span_id])]
    return ordered


def _bar(span: Span, start: float, total: float) -> Text:
    left = min(int((_start_ms(span) - start) / total * WIDTH), WIDTH - 1)
    length = max(1, round(span.duration_ms / total * WIDTH))
    return Text(" " * left + "█" * min(length, WIDTH - left), style="red" if span.status == "error" else "cyan")
