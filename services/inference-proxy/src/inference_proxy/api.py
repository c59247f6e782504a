"""The public HTTP face: `POST /v1/infer/{deployment_id}` and the health routes.

Written against bare ASGI. The one hot route needs its body in pieces (refused at its limit, not after it) and its headers
before the body, and nothing of a framework's routing, dependency and response layers: a framework would bring an OpenAPI
page for a single route, and take its share of every request's time and of the idle memory.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from uuid import UUID

import msgspec
from msgspec import Struct
from opentelemetry.trace import Span

from contracts.errors import ERRORS, ModelportError, Permanent, Transient
from contracts.tiers import TierLimits
from contracts.vocabulary import Tier
from inference_proxy import answers, policy
from inference_proxy.asgi import Answer, Call, ClientGone, Receive, Scope, Send, lifespan, problem, respond
from inference_proxy.bodies import InferRequest, reader_of
from inference_proxy.data_plane import DataPlane, Inference
from inference_proxy.images import ImageLimits
from inference_proxy.keys import KeyCheck
from inference_proxy.once import HEADER, REPLAYED, Once
from inference_proxy.policy import Allowance
from inference_proxy.quota import Quota, Reservation
from inference_proxy.rate import RateLimiter
from inference_proxy.room import Room
from inference_proxy.routes import Route, RouteTable
from inference_proxy.served import ServedModel
from inference_proxy.tracing import RequestTracing, trace_id
from inference_proxy.usage import Meter
from servicekit.health import Checks, Health, run_checks

INFER = "/v1/infer/"
ANSWERED_BEFORE = "replayed"
UNCOUNTED = ("rate_limited", "quota_exceeded", "client_gone", ANSWERED_BEFORE)
STATUSES = {"": 200, ANSWERED_BEFORE: 200, "client_gone": 499}
SHARES = 4
"""How many users can be as busy as one may be at most, before all are told to wait."""
BODIES_BYTES = 512 << 20

_log = logging.getLogger(__name__)


class Permits(Struct, frozen=True):
    """What a request was granted: its place in the minute and its unit of the month."""

    minute: Allowance
    month: Reservation


class Parts(Struct, frozen=True, kw_only=True):
    """Everything that a request passes through."""

    routes: RouteTable
    keys: KeyCheck
    rate: RateLimiter
    quota: Quota
    data_plane: DataPlane
    meter: Meter
    tracing: RequestTracing
    once: Once
    limits: ImageLimits
    checks: Checks
    body_timeout_s: float
    concurrency: int
    is_current: Callable[[], bool]
    """Whether keys and routes are known to be those of this moment."""
    tiers: Mapping[Tier, TierLimits]


class Api:
    """The ASGI application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._requests = Room(parts.concurrency, max(parts.concurrency // SHARES, 1))
        self._bodies = Room(BODIES_BYTES, BODIES_BYTES // SHARES)
        self._is_leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http":
            call = Call(scope, receive)
            try:
                answer = await self._answer(call)
            except ClientGone:
                return
            await respond(send, answer, close=self._is_leaving or (not call.is_read and call.method != "GET"))

    def leave(self) -> None:
        """From now on every answer ends its connection and /readyz says 503: the process is about to end."""
        self._is_leaving = True

    async def _answer(self, call: Call) -> Answer:
        try:
            if call.path.startswith(INFER):
                if call.method != "POST":
                    raise Permanent("method_not_allowed", "Pictures are sent with POST.", headers={"Allow": "POST"})
                return await self._infer(call, time.perf_counter())
            if call.path == "/healthz":
                return _health(Health("ok"))
            if call.path == "/readyz":
                return _health(Health("leaving") if self._is_leaving else await run_checks(self._parts.checks))
            raise Permanent("not_found", "There is nothing here.")
        except ModelportError as error:
            return problem(error, call.path)

    async def _infer(self, call: Call, started: float) -> Answer:
        """Authenticate, then serve inside a span; permits are fetched while the picture is read and decoded."""
        if not self._parts.is_current():
            raise stale()
        route = self._parts.keys.authenticate(call.header("authorization"), self._route(call.path))
        with self._requests.hold(route.access.user_id, 1):
            traceparent = route.model.traceparent if route.model is not None else ""
            span = self._parts.tracing.start(route.deployment_id, call.header("traceparent"), traceparent)
            return await self._served(call, route, span, started)

    async def _served(self, call: Call, route: Route, span: Span, started: float) -> Answer:
        inference: Inference | None = None
        code, kept = "client_gone", b""
        key = call.header(HEADER)
        admission: asyncio.Task[Permits] | None = None
        try:
            model = _model(route)
            reader = reader_of(call.header("content-type"))
            self._parts.rate.check(route.access.user_id, self._parts.tiers[route.access.tier].rate_limit_per_minute)
            admission = None if key else asyncio.create_task(self._admit(route))
            with self._bodies.hold(route.access.user_id, call.expected_bytes(reader.limit(self._parts.limits))):
                body = await call.body(reader.limit(self._parts.limits), self._parts.body_timeout_s)
                request = reader.read(body, call.header("content-type"), call.query, self._parts.limits)
                if admission is None:
                    admission = asyncio.create_task(self._admit_once(route, key, request))
                    kept = (await admission).month.kept
                found = None if kept else await self._compute(route, model, request, admission)
            permits = await admission
            if found is None:
                code = ANSWERED_BEFORE
                return _replayed(kept, permits, trace_id(span))
            answer = self._success(model, found, permits, trace_id(span), started)
            if key:
                await self._parts.once.keep(permits.month, answer.body)
            inference, code = found, ""
        except ClientGone:
            raise
        except ModelportError as error:
            code = error.code
            answer = problem(error, call.path, trace_id(span))
        except Exception:
            code = "internal"
            _log.exception("inference for %s failed", route.deployment_id)
            ours = Transient("internal", "The request failed for a reason of our own.")
            answer = problem(ours, call.path, trace_id(span))
        finally:
            self._settle(route, admission, inference, code)
            self._parts.tracing.end(span, _status(code), inference.stages if inference else ())
        if key and inference is None and admission is not None:
            await self._parts.once.release(admission)
        return answer

    async def _compute(
        self, route: Route, model: ServedModel, request: InferRequest, admission: "asyncio.Task[Permits]"
    ) -> Inference:
        return await self._parts.data_plane.infer(
            model, request, lambda: _granted(admission), user_id=route.access.user_id
        )

    async def _admit(self, route: Route) -> Permits:
        limits = self._parts.tiers[route.access.tier]
        minute = await self._parts.rate.admit(route.access.user_id, limits.rate_limit_per_minute)
        return Permits(minute, await self._parts.quota.reserve(route.access.user_id, limits.requests_per_month))

    async def _admit_once(self, route: Route, key: str, request: InferRequest) -> Permits:
        """Like `_admit`, for a request with an Idempotency-Key: its unit is counted under the key."""
        limits, user_id = self._parts.tiers[route.access.tier], route.access.user_id
        identity = self._parts.once.identify(key, user_id, route.deployment_id, request)
        minute = await self._parts.rate.admit(user_id, limits.rate_limit_per_minute)
        return Permits(minute, await self._parts.once.claim(identity, limits.requests_per_month))

    def _settle(
        self, route: Route, admission: "asyncio.Task[Permits] | None", inference: Inference | None, code: str
    ) -> None:
        """A request that failed uses nothing of the month; one that was limited is not counted at all."""
        if admission is not None:
            admission.add_done_callback(lambda task: _close(task, answered=inference is not None))
        if code in UNCOUNTED:
            return
        spent = inference.stages[2].milliseconds if inference else 0.0
        access = route.access
        self._parts.meter.record(
            route.deployment_id, access.user_id, answered=inference is not None, inference_ms=spent
        )

    def _success(self, model: ServedModel, found: Inference, permits: Permits, trace: str, started: float) -> Answer:
        latency_ms = (time.perf_counter() - started) * 1000
        body = answers.answer(found, latency_ms=latency_ms, version=model.version)
        return Answer(status=200, body=msgspec.json.encode(body), headers=_headers(permits, trace))

    def _route(self, path: str) -> Route | None:
        try:
            return self._parts.routes.get(UUID(path.removeprefix(INFER)))
        except ValueError:
            return None


def _headers(permits: Permits, trace: str) -> dict[str, str]:
    allowances = [permits.minute] + ([permits.month.allowance] if permits.month.allowance else [])
    return policy.headers(allowances) | {"X-Trace-Id": trace}


def _replayed(kept: bytes, permits: Permits, trace: str) -> Answer:
    return Answer(status=200, body=kept, headers=_headers(permits, trace) | {REPLAYED: "true"})


def _model(route: Route) -> ServedModel:
    """What answers; the owner of a valid key learns why nothing does."""
    if route.model is not None and route.serving:
        return route.model
    if not route.serving or route.generation:
        raise Permanent("conflict", "The deployment is not active.", hint="Reactivate it or wait until it is active.")
    raise Transient("unavailable", "The deployment is being started.", headers={"Retry-After": "1"})


def stale() -> Transient:
    """A key that was revoked meanwhile must not open anything."""
    return Transient("unavailable", "The proxy has lost touch with the bus.", headers={"Retry-After": "2"})


async def _granted(admission: "asyncio.Task[Permits]") -> None:
    await admission


def _close(admission: "asyncio.Task[Permits]", *, answered: bool) -> None:
    """Settle the month's unit; an error of the admission was told already or was overtaken by another."""
    if not admission.cancelled() and admission.exception() is None:
        admission.result().month.close(answered=answered)


def _status(code: str) -> int:
    return ERRORS[code].status if code in ERRORS else STATUSES[code]


def _health(health: Health) -> Answer:
    return Answer(status=200 if health.status == "ok" else 503, body=msgspec.json.encode(health))
