"""A trace as a waterfall: one line per span, indented by parent, a bar where and how long it ran."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from rich.console import RenderableType
from rich.text import Text

from modelport.cli import views
from modelport.models import Span

WIDTH = 48


class _Reference(Struct, rename="camel"):
    ref_type: str = ""
    span_id: str = msgspec.field(name="spanID", default="")


class _Tag(Struct):
    key: str = ""
    value: object = None


class _JaegerSpan(Struct, rename="camel"):
    span_id: str = msgspec.field(name="spanID", default="")
    operation_name: str = ""
    start_time: int = 0
    duration: int = 0
    process_id: str = msgspec.field(name="processID", default="")
    references: list[_Reference] = []
    tags: list[_Tag] = []


class _Process(Struct, rename="camel"):
    service_name: str = ""


class _Trace(Struct):
    spans: list[_JaegerSpan] = []
    processes: dict[str, _Process] = {}


class _Answer(Struct):
    data: list[_Trace] = []


def spans_of(answer: dict[str, object]) -> list[Span]:
    """The spans of Jaeger's JSON, by start."""
    traces = msgspec.convert(answer, _Answer).data
    found = [_span(span, trace.processes) for trace in traces for span in trace.spans]
    return sorted(found, key=lambda span: span.start_us)


def _span(span: _JaegerSpan, processes: dict[str, _Process]) -> Span:
    parents = [r.span_id for r in span.references if r.ref_type == "CHILD_OF"]
    return Span(
        span_id=span.span_id,
        parent_id=parents[0] if parents else None,
        service=processes.get(span.process_id, _Process()).service_name,
        name=span.operation_name,
        start_us=span.start_time,
        duration_us=span.duration,
        failed=any(tag.key == "error" and tag.value not in (False, "false") for tag in span.tags),
    )


def view(spans: Sequence[Span]) -> RenderableType:
    if not spans:
        return Text("No spans are kept for this job.")
    start = min(span.start_us for span in spans)
    total = max(span.start_us + span.duration_us for span in spans) - start or 1
    rows = (
        (span.service, "  " * depth + span.name, _bar(span, start, total), f"{span.duration_us / 1000:.1f} ms")
        for depth, span in _tree(spans)
    )
    return views.table(("SERVICE", "OPERATION", f"0 … {total / 1e6:.2f} s", "DURATION"), rows)


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


def _bar(span: Span, start: int, total: int) -> Text:
    left = min(int((span.start_us - start) / total * WIDTH), WIDTH - 1)
    length = max(1, round(span.duration_us / total * WIDTH))
    return Text(" " * left + "█" * min(length, WIDTH - left), style="red" if span.failed else "cyan")
