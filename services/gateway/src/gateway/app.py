"""Composition root: one process of the gateway, wired by hand."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from typing import Any

import asyncpg
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware

from contracts.errors import Permanent, Transient
from gateway import openapi, reactions, signing_keys
from gateway.accounts import Authentication, ensure_bootstrap, refuse_unclear_parameters, require_scope, tell_standing
from gateway.api import accounts, dead_letters, deployments, exports, preflights, training, uploads
from gateway.api import signing_keys as published_keys
from gateway.api.bodies import StrictRequest
from gateway.parts import SERVICE, Parts
from gateway.progress import Progress
from gateway.reconciler import Reconciler
from gateway.settings import Settings
from gateway.store.accounts import Caller
from gateway.sweeper import Sweeper
from gateway.traces import Traces
from servicekit import http, inbox, outbox
from servicekit.bus import Bus
from servicekit.migrate import migrate
from servicekit.objects import ObjectStore
from servicekit.postgres import UNREACHABLE, create_pool, unstorable
from servicekit.tasks import end
from servicekit.telemetry import Telemetry

MAX_BODY_BYTES = 4 << 20
RESTART_S = 1.0
DATABASE_AWAY = (*UNREACHABLE, asyncpg.InterfaceError, asyncpg.InsufficientResourcesError)
ROUTES = (
    *training.ROUTES,
    *uploads.ROUTES,
    *exports.ROUTES,
    *preflights.ROUTES,
    *deployments.ROUTES,
    *accounts.ROUTES,
    *dead_letters.ROUTES,
    *published_keys.ROUTES,
)

_log = logging.getLogger(__name__)


def build_app(parts: Parts) -> Litestar:
    """The HTTP side over connected parts."""
    checks = {"postgres": lambda: parts.pool.fetchval("SELECT 1"), "nats": parts.bus.check, "s3": parts.objects.check}
    return _litestar(State({"parts": parts}), checks, [http.tracing(parts.telemetry)])


def describe() -> Litestar:
    """The same routes without anything behind them, for their documentation."""
    return _litestar(State(), {}, [])


@asynccontextmanager
async def running(settings: Settings, telemetry: Telemetry, *, schema: str = SERVICE) -> AsyncIterator[Parts]:
    """A connected gateway whose reactions, relay and reconciler run; `schema` is its schema in PostgreSQL."""
    keys = signing_keys.load(settings.signing_public_keys_file)
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings.postgres_dsn, schema=schema, min_size=2, max_size=20)
        stack.callback(pool.terminate)
        await migrate(pool, schema, files("gateway") / "migrations", shared=(outbox.TABLE_SQL, inbox.TABLE_SQL))
        if settings.bootstrap_token:
            await ensure_bootstrap(pool, settings.bootstrap_token, settings.key_pepper)
        objects = await stack.enter_async_context(ObjectStore(settings))
        await objects.ensure_bucket()
        traces = Traces(settings.traces_url)
        stack.push_async_callback(traces.close)
        bus = Bus(settings.nats_url, SERVICE, telemetry)
        stack.push_async_callback(bus.stop)
        parts = Parts(
            settings=settings,
            telemetry=telemetry,
            pool=pool,
            bus=bus,
            objects=objects,
            progress=Progress(pool),
            traces=traces,
            signing_keys=keys,
        )
        reactions.subscribe(parts)
        await bus.start()
        loops = (parts.progress.run, outbox.Relay(pool, bus.jetstream).run, Reconciler(parts).run, Sweeper(parts).run)
        tasks = [asyncio.create_task(_forever(loop)) for loop in loops]
        stack.push_async_callback(end, *tasks)
        yield parts


def _litestar(state: State, checks: http.Checks, middleware: list[Any]) -> Litestar:
    return Litestar(
        route_handlers=[*ROUTES, *http.health_routes(checks)],
        dependencies={
            "parts": Provide(_parts, sync_to_thread=False),
            "caller": Provide(_caller, sync_to_thread=False),
        },
        middleware=[*middleware, DefineMiddleware(Authentication, exclude=[f"^{openapi.PATH}"])],
        before_send=[tell_standing],
        guards=[require_scope, refuse_unclear_parameters],
        exception_handlers={
            **http.exception_handlers(),
            RecursionError: _on_recursion,
            asyncpg.DataError: _on_unstorable,
            **dict.fromkeys(DATABASE_AWAY, _on_database_away),
        },
        openapi_config=openapi.config(),
        plugins=[openapi.ClosedStructs()],
        request_class=StrictRequest,
        state=state,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )


def _parts(state: State) -> Parts:
    parts: Parts = state.parts
    return parts


def _caller(request: Request[Caller, str, State]) -> Caller:
    return request.user


def _on_recursion(request: Request[Any, Any, Any], _: RecursionError) -> Response[http.Problem]:
    """msgspec's answer to a body of thousands of brackets."""
    return http.problem(request, Permanent("invalid_request", "The body is nested too deeply."))


def _on_unstorable(request: Request[Any, Any, Any], error: asyncpg.DataError) -> Response[http.Problem]:
    return http.problem(request, unstorable(error))


def _on_database_away(request: Request[Any, Any, Any], _: Exception) -> Response[http.Problem]:
    return http.problem(request, Transient("unavailable", "The database does not answer."))


async def _forever(loop: Callable[[], Awaitable[None]]) -> None:
    """A background loop never ends the process: what it did not expect is told, and it starts again."""
    while True:
        try:
            await loop()
        except Exception:
            _log.exception("%s stopped unexpectedly and starts again", getattr(loop, "__qualname__", loop))
        await asyncio.sleep(RESTART_S)
