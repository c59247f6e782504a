"""The sink's HTTP surface: OTLP in, Jaeger's JSON out; loopback only."""

import msgspec
from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from embedded.traces.jaeger import answer
from embedded.traces.otlp import spans_of
from embedded.traces.store import SpanStore

MAX_BODY_BYTES = 16 * 1024 * 1024
PROTOBUF = "application/x-protobuf"
STORE = web.AppKey("store", SpanStore)


def build_app(store: SpanStore) -> web.Application:
    """`POST /v1/traces` (protobuf, gzip too), `GET /api/traces/{trace_id}`, `/healthz`, `/readyz`."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[STORE] = store
    app.add_routes(
        [
            web.post("/v1/traces", _take),
            web.get("/api/traces/{trace_id}", _trace),
            web.get("/healthz", _healthy),
            web.get("/readyz", _healthy),
        ]
    )
    return app


async def _take(request: web.Request) -> web.Response:
    """aiohttp has undone the content encoding when the body is read."""
    try:
        body = ExportTraceServiceRequest.FromString(await request.read())
    except (DecodeError, web.RequestPayloadError) as error:
        raise web.HTTPBadRequest(text=f"not an OTLP trace request: {error}") from error
    request.app[STORE].put(spans_of(body))
    return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)


async def _trace(request: web.Request) -> web.Response:
    """Trace ids are 32 hex digits; Jaeger accepts them without leading zeros, and so do we."""
    trace_id = request.match_info["trace_id"].lower().rjust(32, "0")
    found = answer(trace_id, request.app[STORE].trace(trace_id))
    body = msgspec.json.encode(found)
    return web.Response(body=body, status=200 if found.data else 404, content_type="application/json")


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")
