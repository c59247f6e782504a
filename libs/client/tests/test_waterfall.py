"""Jaeger's JSON as a waterfall."""

from io import StringIO

from rich.console import Console

from modelport.cli import waterfall


def jaeger(span_id, name, start, duration, parent=None, error=False):
    return {
        "spanID": span_id,
        "operationName": name,
        "startTime": start,
        "duration": duration,
        "processID": "p1",
        "references": [{"refType": "CHILD_OF", "spanID": parent, "traceID": "t"}] if parent else [],
        "tags": [{"key": "error", "type": "bool", "value": True}] if error else [],
    }


ANSWER = {
    "data": [
        {
            "traceID": "t",
            "spans": [
                jaeger("c", "convert", 3000, 1000, parent="b", error=True),
                jaeger("a", "POST /jobs", 1000, 500),
                jaeger("b", "run", 2000, 3000, parent="a"),
                jaeger("d", "orphan", 4000, 10, parent="lost"),
            ],
            "processes": {"p1": {"serviceName": "export-worker"}},
        }
    ]
}


def shown(answer):
    console = Console(file=StringIO(), width=200)
    console.print(waterfall.view(waterfall.spans_of(answer)))
    return console.file.getvalue()


def test_children_stand_under_their_parents():
    lines = [line.split("  ", 1)[1].rstrip() for line in shown(ANSWER).splitlines()[1:]]
    assert [line.split("█")[0].rstrip() for line in lines] == ["POST /jobs", "  run", "    convert", "orphan"]


def test_spans_carry_service_and_failure():
    by_name = {span.name: span for span in waterfall.spans_of(ANSWER)}
    assert by_name["convert"].failed
    assert not by_name["run"].failed
    assert by_name["run"].service == "export-worker"
    assert "3.0 ms" in shown(ANSWER)


def test_a_trace_without_spans_is_a_sentence():
    assert "No spans" in shown({"data": []})
