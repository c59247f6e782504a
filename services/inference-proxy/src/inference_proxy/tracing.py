"""Spans of requests: one SERVER span each, and the stages of a few a second.

A caller's trace is linked to, where there is one. The first requests of a deployment otherwise join the deployment's own
trace, so that it can be followed from export to inference; a trace cannot hold millions, so later ones only link to it.
"""

import time
from collections.abc import Sequence
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from inference_proxy.data_plane import Stage
from servicekit.telemetry import Telemetry, extract, links_to_caller

NAME = "POST /v1/infer/{deployment_id}"
JOINING = 20
DETAILED_A_SECOND = 10


class RequestTracing:
    """Starts and ends the spans of requests."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._joined: dict[str, int] = {}
        self._second = 0
        self._detailed = 0

    def start(self, deployment_id: UUID, traceparent: str, deployment_traceparent: str) -> Span:
        """The span of a request whose key was accepted."""
        links = links_to_caller({"traceparent": traceparent}) if traceparent else []
        context = Context()
        if deployment_traceparent:
            deployment = extract({"traceparent": deployment_traceparent})
            joined = self._joined.get(deployment_traceparent, 0)
            if not traceparent and joined < JOINING:
                self._joined[deployment_traceparent] = joined + 1
                context = deployment
            else:
                links.append(Link(trace.get_current_span(deployment).get_span_context()))
        return self._telemetry.tracer.start_span(
            NAME,
            context=context,
            kind=SpanKind.SERVER,
            links=links,
            attributes={"http.request.method": "POST", "modelport.deployment_id": str(deployment_id)},
        )

    def end(self, span: Span, status: int, stages: Sequence[Stage] = ()) -> None:
        """Close the span; stages become child spans while this second's budget lasts, attributes always."""
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        for stage in stages:
            span.set_attribute(f"modelport.{stage.name}_ms", round(stage.milliseconds, 3))
        if stages and self._has_budget():
            context = trace.set_span_in_context(span, Context())
            for stage in stages:
                child = self._telemetry.tracer.start_span(stage.name, context=context, start_time=stage.started_ns)
                child.end(stage.ended_ns)
        span.end()

    def _has_budget(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._detailed = second, 0
        self._detailed += 1
        return self._detailed <= DETAILED_A_SECOND


def trace_id(span: Span) -> str:
    """32 hex digits."""
    return f"{span.get_span_context().trace_id:032x}"
