"""A trace as a waterfall."""

from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console

from modelport.cli import waterfall
from modelport.models import Span, Trace

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def span(span_id, name, start_ms, duration_ms, parent=None, status="unset"):
    return Span(
        span_id=span_id,
        parent_id=parent,
        name=name,
        service="export-worker",
        start=NOON + timedelta(milliseconds=start_ms),
        duration_ms=duration_ms,
        status=status,
    )


TRACE = Trace(
    trace_id="t",
    spans=(
        span("c", "convert", 30, 10, parent="b", status="error"),
        span("a", "POST /jobs", 10, 5),
        span("b", "run", 20, 30, parent="a"),
        span("d", "orphan", 40, 0.1, parent="lost"),
    ),
)


def shown(trace):
    console = Console(file=StringIO(), width=200)
    console.print(waterfall.view(trace))
    return console.file.getvalue()


def test_children_stand_under_their_parents():
    lines = [line.split("  ", 1)[1].split("█")[0].rstrip() for line in shown(TRACE).splitlines()[2:]]
    assert lines == ["POST /jobs", "  run", "    convert", "orphan"]


def test_bars_lie_where_and_as_long_as_the_span():
    bars = [line.split("worker")[1] for line in shown(TRACE).splitlines()[2:]]
    run, convert = bars[1], bars[2]
    assert run.index("█") < convert.index("█")
    assert run.count("█") == 3 * convert.count("█")


def test_durations_are_said():
    assert "30.0 ms" in shown(TRACE)
    assert "4 spans" in shown(TRACE)


def test_a_trace_without_spans_is_a_sentence():
    assert "No spans" in shown(Trace(trace_id="t", spans=()))
