"""HTTP for Litestar services: problem details (RFC 9457), health routes, one span a request, and the server itself."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from litestar import MediaType, Request, Response, get
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, ExceptionHandlersMap, Message, Receive, Scope, Send
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

from contracts.errors import ERRORS, FieldError, ModelportError
from servicekit import process
from servicekit.health import Check, Checks, Health, HealthServer, run_checks
from servicekit.problems import PROBLEM_JSON, Problem, describe
from servicekit.telemetry import Telemetry, current_trace_id, links_to_caller

if TYPE_CHECKING:
    import uvicorn

    from servicekit.guard import HttpLimits

__all__ = [
    "PROBLEM_JSON",
    "Check",
    "Checks",
    "HealthServer",
    "Problem",
    "exception_handlers",
    "health_routes",
    "problem",
    "serve",
    "tracing",
]

GRACE_S = 8
LOOK_S = 0.02

_CODES = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    502: "upstream_failed",
    503: "unavailable",
    504: "timeout",
}
_PATH = re.compile(r"^(?P<message>.*?)(?: - at `(?P<where>key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r"(?:unknown|missing required) field `([^`]+)`")
_UNTRACED = ("/healthz", "/readyz")

_log = logging.getLogger(__name__)


def problem(request: Request[Any, Any, Any], error: ModelportError) -> Response[Problem]:
    """The answer that tells `error`."""
    body = describe(error, instance=request.url.path, trace_id=current_trace_id())
    headers = dict(error.headers)
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return Response(body, status_code=error.status, media_type=PROBLEM_JSON, headers=headers)


def exception_handlers() -> ExceptionHandlersMap:
    """For `Litestar(exception_handlers=…)`: every error becomes a problem, and none shows internals."""
    return {ModelportError: _on_ours, HTTPException: _on_http, Exception: _on_unknown}


def _on_ours(request: Request[Any, Any, Any], error: ModelportError) -> Response[Problem]:
    if error.status >= 500:
        _log.error("%s %s: %s: %s", request.method, request.url.path, error.code, error.message)
    return problem(request, error)


def _on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    status = error.status_code
    code = _CODES.get(status, "invalid_request" if status < 500 else "internal")
    kind = ERRORS[code]
    if status >= 500:
        return _on_unknown(request, error)
    fields = _fields(error) if status == 400 else ()
    detail = "; ".join(f"{item.field}: {item.message}" for item in fields) or _sentence(error, kind.title)
    ours = ModelportError(code, detail, fields=fields, headers=dict(error.headers or {}))
    ours.status = status
    return problem(request, ours)


def _on_unknown(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(request, ModelportError("internal", "The request failed for a reason of our own."))


def _sentence(error: HTTPException, title: str) -> str:
    return str(error.detail) if error.detail else title


def _fields(error: HTTPException) -> tuple[FieldError, ...]:
    """The wrong fields: Litestar lists parameters in `extra`; msgspec names the path of a body's field in its text."""
    if isinstance(error.extra, list) and error.extra:
        return tuple(_field(item.get("message", ""), _sent_name(item)) for item in error.extra)
    named = _field(str(error.detail), "")
    return (named,) if named.field else ()


def _sent_name(item: Mapping[str, str]) -> str:
    """As the client spelled it: Litestar tells the handler's name of a header."""
    key = item.get("key", "")
    return key.replace("_", "-").title() if item.get("source") == "header" else key


def _field(text: str, key: str) -> FieldError:
    found = _PATH.match(text)
    message, path = (found["message"], found["path"] or "") if found else (text, "")
    path = path.lstrip(".")
    unknown = _UNKNOWN_FIELD.search(message)
    parts = [part for part in (key, path, unknown[1] if unknown else "") if part]
    return FieldError(".".join(parts).removeprefix("data."), message)


def health_routes(checks: Checks | None = None) -> list[HTTPRouteHandler]:
    """GET /healthz (alive) and /readyz (every named check passes, else 503)."""
    named = checks or {}

    @get("/healthz", media_type=MediaType.JSON, include_in_schema=False, opt={"exclude_from_auth": True})
    async def healthz() -> Health:
        return Health("ok")

    @get("/readyz", media_type=MediaType.JSON, include_in_schema=False, opt={"exclude_from_auth": True})
    async def readyz() -> Response[Health]:
        health = await run_checks(named)
        return Response(health, status_code=200 if health.status == "ok" else 503)

    return [healthz, readyz]


def tracing(telemetry: Telemetry) -> Callable[[ASGIApp], ASGIApp]:
    """Middleware: one SERVER span a request (none for health routes), linked to the caller's traceparent.

    The answer carries the trace's id in `x-trace-id`.
    """

    def wrap(app: ASGIApp) -> ASGIApp:
        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP or scope["path"] in _UNTRACED:
                await app(scope, receive, send)
                return
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            method = str(scope["method"])
            with telemetry.span(
                method,
                context=Context(),
                kind=SpanKind.SERVER,
                links=links_to_caller(headers),
                **{"http.request.method": method, "url.path": scope["path"]},
            ) as span:
                trace_id = current_trace_id().encode()

                async def observed(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        span.set_attribute("http.response.status_code", message["status"])
                        if message["status"] >= 500:
                            span.set_status(Status(StatusCode.ERROR))
                        message["headers"] = [*message.get("headers", []), (b"x-trace-id", trace_id)]
                    await send(message)

                try:
                    await app(scope, receive, observed)
                finally:
                    route = str(scope.get("path_template") or "")
                    if route:
                        span.set_attribute("http.route", route)
                        span.update_name(f"{method} {route}")

        return traced

    return wrap


async def serve(
    app: Any,
    host: str,
    port: int,
    *,
    grace_s: int = GRACE_S,
    stopping: Callable[[], None] = lambda: None,
    leave_s: float = 0.0,
) -> None:
    """Serve an ASGI app in the running loop until SIGTERM, SIGINT or cancellation, then finish running requests.

    `stopping` ends answers that would go on for ever, and may send clients away: for `leave_s`, or until no connection is left, new
    ones are still taken, because a client cannot know earlier. Returns normally, so that the caller's own clean-up runs; OSError
    where the port is taken.
    """
    server = make_server(app, host, port, grace_s=grace_s)
    leaving: set[asyncio.Task[None]] = set()

    def stop() -> None:
        stopping()
        leaving.add(asyncio.get_running_loop().create_task(_exit_when_empty(server, leave_s)))

    process.on_stop(stop)
    try:
        await server._serve()
    except asyncio.CancelledError:
        server.should_exit = True
        if server.started:
            await server.shutdown()
        raise


async def _exit_when_empty(server: "uvicorn.Server", leave_s: float) -> None:
    """Whoever was told to go elsewhere has gone, or had the time for it."""
    deadline = time.monotonic() + leave_s
    while server.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110  (uvicorn has no event for this)
        await asyncio.sleep(LOOK_S)
    server.should_exit = True


def make_server(
    app: Any, host: str, port: int, *, grace_s: int = GRACE_S, limits: "HttpLimits | None" = None
) -> "uvicorn.Server":
    """uvicorn with guarded connections, without access log and without its own logging."""
    import uvicorn

    from servicekit.guard import HttpLimits, guarded

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=guarded(limits or HttpLimits()),
        loop="none",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nobody asks for the client's address, and everybody can forge it
        timeout_graceful_shutdown=grace_s,
        timeout_keep_alive=65,
        lifespan="on",
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a line for every stranger's bad request helps nobody else
    return uvicorn.Server(config)
