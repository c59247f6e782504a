"""Wires the inference proxy: bus, ledger, counters, Triton, the table of routes, the periodic flushes, the API."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from contracts.errors import ModelportError, Transient
from contracts.tiers import TIERS, TierLimits
from contracts.vocabulary import Tier
from inference_proxy.api import Api, Parts, stale
from inference_proxy.clock import SharedClock
from inference_proxy.counters import NatsCounters
from inference_proxy.data_plane import DataPlane
from inference_proxy.images import ImageLimits
from inference_proxy.keys import KeyCheck
from inference_proxy.ledger import SCHEMA, Ledger, migrations
from inference_proxy.once import Once
from inference_proxy.quota import Quota
from inference_proxy.rate import RateLimiter
from inference_proxy.routes import FACTS, RouteTable
from inference_proxy.settings import Settings
from inference_proxy.tracing import RequestTracing
from inference_proxy.triton import TritonClient
from inference_proxy.usage import Meter
from servicekit.bus import Bus
from servicekit.health import Check
from servicekit.migrate import migrate
from servicekit.postgres import create_pool
from servicekit.replay import Follower, follow
from servicekit.tasks import end
from servicekit.telemetry import Telemetry

SERVICE = "inference-proxy"
LAST_FLUSH_S = 2.0
SYNC_S = 5.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def build_app(
    settings: Settings, telemetry: Telemetry, tiers: Mapping[Tier, TierLimits] = TIERS
) -> AsyncIterator[Api]:
    """The connected application; leaving it returns leases and publishes the last usage."""
    proxy_id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    limits = ImageLimits(max_bytes=settings.image_max_bytes, max_pixels=settings.image_max_pixels)
    async with AsyncExitStack() as stack:
        bus = Bus(settings.nats_url, SERVICE, telemetry)
        await bus.start()
        stack.push_async_callback(bus.stop)
        await migrate(settings.postgres_dsn, SCHEMA, migrations())
        pool = await create_pool(settings.postgres_dsn, schema=SCHEMA, max_size=4)
        stack.callback(pool.terminate)
        ledger = Ledger(pool, proxy_id, timedelta(seconds=settings.quota_lease_s))
        clock = SharedClock(ledger)
        await clock.sync()
        quota = Quota(ledger, ttl_s=settings.quota_lease_s, now=clock.now)
        once = Once(ledger, pepper=settings.key_pepper, life_s=settings.idempotency_ttl_s)
        rate = await _rate_limiter(settings, ledger, clock, stack)
        # one for each request and one for /readyz: whoever is served waits for no other user's model
        triton = await stack.enter_async_context(
            TritonClient(
                settings.triton_http_url, timeout_s=settings.inference_timeout_s, connections=settings.concurrency + 1
            )
        )
        data_plane = DataPlane(triton, limits, threads=os.cpu_count() or 1)
        stack.callback(data_plane.close)
        meter = Meter(bus, proxy_id)
        stack.push_async_callback(_last_words, quota, meter)
        flushes = {quota.flush: settings.flush_s, meter.flush: settings.flush_s, once.flush: 1.0, clock.sync: SYNC_S}
        for action, every_s in flushes.items():
            stack.push_async_callback(end, asyncio.create_task(_repeat(action, every_s)))
        routes = RouteTable()
        follower = follow(bus, FACTS, routes.on_fact, since="start")
        stack.push_async_callback(follower.stop)
        yield Api(
            Parts(
                routes=routes,
                keys=KeyCheck(settings.key_pepper),
                rate=rate,
                quota=quota,
                data_plane=data_plane,
                meter=meter,
                tracing=RequestTracing(telemetry),
                once=once,
                limits=limits,
                checks={
                    "bus": bus.check,
                    "ledger": ledger.check,
                    "routes": _caught_up(follower, settings.stale_after_s),
                    "triton": triton.is_ready,
                },
                body_timeout_s=settings.body_timeout_s,
                concurrency=settings.concurrency,
                is_current=lambda: follower.silent_s < settings.stale_after_s,
                tiers=tiers,
            )
        )


async def _rate_limiter(settings: Settings, ledger: Ledger, clock: SharedClock, stack: AsyncExitStack) -> RateLimiter:
    """Limiter and counters know each other: lost counters are refilled with what the limiter has admitted."""
    counters = NatsCounters(ledger.epoch)
    limiter = RateLimiter(counters, clock.now)
    stack.push_async_callback(counters.close)
    await counters.connect(settings.nats_url, restore=limiter.admitted)
    return limiter


async def _last_words(quota: Quota, meter: Meter) -> None:
    """What must not be lost when the process ends; an unreachable server is not waited for."""
    for last in (meter.flush, quota.close):
        try:
            async with asyncio.timeout(LAST_FLUSH_S):
                await last()
        except (TimeoutError, ModelportError) as error:
            _log.warning("on shutdown: %s", error or "no answer in time")


async def _repeat(action: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await action()
        except Transient as error:
            _log.warning("a periodic task waits: %s", error)
        except Exception:
            _log.exception("a periodic task failed")


def _caught_up(follower: Follower, stale_after_s: float) -> Check:
    async def check() -> None:
        if not follower.is_caught_up:
            raise Transient("unavailable", "past deployments are still being read")
        if follower.silent_s >= stale_after_s:
            raise stale()

    return check
