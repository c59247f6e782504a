"""Several proxies on one bus and one ledger, in front of a model that answers at once; and what can happen to them."""

import asyncio
import io
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import msgspec
from opentelemetry.sdk.trace import TracerProvider
from PIL import Image

from bench import alone
from contracts.vocabulary import Tier
from servicekit.bus import Bus
from servicekit.servers import LOOPBACK, ServerCommand, free_ports
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, PostgresServer, Server, nats_server, postgres_server

ROOT = Path(__file__).parents[2]
LEASE_S = 8
MINUTE = 40
NEVER = 10**9
PATIENCE_S = 100
Sent = tuple[str, bytes, Mapping[str, str]]
Limits = Mapping[Tier, tuple[int | None, int]]
"""Requests a month and a minute."""


@dataclass(frozen=True)
class Proxy:
    """One process; `skew` moves its wall clock."""

    server: Server
    url: str
    skew: Path


@dataclass
class Fleet:
    """The running servers; a `tenant` is a user with one endpoint."""

    nats: NatsServer
    postgres: PostgresServer
    upstream: Server
    proxies: list[Proxy]

    async def tenant(self, tier: Tier, user_id: str = "") -> "Tenant":
        """An endpoint of a new user, or of this one."""
        endpoint = alone.endpoint("")
        access = msgspec.structs.replace(endpoint.activation.access, tier=tier)
        access = msgspec.structs.replace(access, user_id=UUID(user_id) if user_id else access.user_id)
        activation = msgspec.structs.replace(endpoint.activation, access=access)
        bus = Bus(self.nats.url, "test", Telemetry("test", TracerProvider(shutdown_on_exit=False)))
        await bus.connect()
        await bus.publish(activation, subject_id=activation.deployment_id, sequence=1)
        await bus.stop()
        return Tenant(endpoint.url, endpoint.key, str(access.user_id), str(activation.deployment_id))

    async def ask(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the ledger."""
        connection = await asyncpg.connect(self.postgres.dsn, server_settings={"search_path": "quota"})
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    async def billed(self, user_id: str) -> int:
        """Units of the user that are used or may be, over all months."""
        rows = await self.ask(
            "SELECT coalesce(sum(used), 0) + coalesce((SELECT sum(ceiling) FROM held WHERE user_id = $1), 0)"
            " FROM ledger WHERE user_id = $1",
            user_id,
        )
        return int(rows[0][0])

    async def held(self) -> int:
        """Units that proxies, living and dead, have taken and not yet settled."""
        return int((await self.ask("SELECT coalesce(sum(granted), 0) FROM held"))[0][0])


@dataclass
class Tenant:
    """A user's endpoint and what its clients saw: `codes` of answers, `admitted` by minute, `unknown` for no answer."""

    path: str
    key: str
    user_id: str
    deployment_id: str
    codes: Counter[str] = field(default_factory=Counter)
    admitted: Counter[int] = field(default_factory=Counter)
    impossible: int = 0
    """Answers that name a minute in which they were neither asked nor given."""

    @property
    def answered(self) -> int:
        return self.codes["ok"]


def _picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(out, "JPEG")
    return out.getvalue()


PICTURE, OTHER_PICTURE = _picture("red"), _picture("blue")


async def send(
    session: aiohttp.ClientSession,
    proxy: Proxy,
    tenant: Tenant,
    *,
    key: str = "",
    media_type: str = "image/jpeg",
    picture: bytes = PICTURE,
) -> Sent:
    """One request: the code of its answer ("ok", a problem's, or "unknown"), the body and the headers."""
    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": media_type}
    if key:
        headers["Idempotency-Key"] = key
    asked = time()
    try:
        async with session.post(proxy.url + tenant.path, data=picture, headers=headers) as answer:
            body, told = await answer.read(), answer.headers
    except (aiohttp.ClientError, TimeoutError, OSError):
        tenant.codes["unknown"] += 1
        return "unknown", b"", {}
    code = "ok" if answer.status == 200 else str(msgspec.json.decode(body)["code"])
    tenant.codes[code] += 1
    if code == "ok":
        _note_minute(tenant, asked, told["RateLimit"])
    return code, body, told


async def insist(session: aiohttp.ClientSession, proxy: Proxy, tenant: Tenant, **request: Any) -> Sent:
    """`send`, again while the answer is that it should be sent again: a busy machine makes a server late."""
    async with asyncio.timeout(PATIENCE_S):
        while (sent := await send(session, proxy, tenant, **request))[0] == "unavailable":
            await asyncio.sleep(0.2)
        return sent


def _note_minute(tenant: Tenant, asked: float, told: str) -> None:
    """The minute that the answer says it counts in, by its end; test and database share this machine's clock."""
    answered = time()
    left_s = int(told.partition('"minute";r=')[2].partition(";t=")[2].partition(",")[0])
    end = int(answered + left_s + 1) // 60 * 60
    tenant.admitted[end] += 1
    tenant.impossible += not (asked - 1 <= end and end - 60 <= answered + 1)


@asynccontextmanager
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield session


async def eventually(check: Callable[[], Coroutine[object, object, bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await check():
            await asyncio.sleep(0.2)


async def knows(session: aiohttp.ClientSession, fleet: Fleet, *tenants: Tenant) -> None:
    """Until every proxy has heard of the tenants; what is no picture by its own word is refused before any limit is asked."""
    for proxy, tenant in itertools.product(fleet.proxies, tenants):

        async def known(proxy=proxy, tenant=tenant) -> bool:
            return (await send(session, proxy, tenant, media_type="text/plain"))[0] == "unsupported_media_type"

        await eventually(known)
    for tenant in tenants:
        tenant.codes.clear()


@contextmanager
def running(folder: Path, limits: Limits, *, proxies: int = 3, **settings: object) -> Iterator[Fleet]:
    """NATS, PostgreSQL, a model and `proxies`, with these tiers."""
    folder.chmod(0o755)
    with ExitStack() as stack:
        nats = stack.enter_context(nats_server(folder))
        postgres = stack.enter_context(postgres_server(folder))
        asyncio.run(_declare(nats))
        (port,) = free_ports(1)
        upstream = _start(stack, folder, "upstream", port, ("bench.upstream", str(port), "1"), {})
        told = {
            "MODELPORT_NATS_URL": nats.url,
            "MODELPORT_POSTGRES_DSN": postgres.dsn,
            "MODELPORT_TRITON_HTTP_URL": f"http://{LOOPBACK}:{port}",
            "MODELPORT_KEY_PEPPER": alone.PEPPER,
            "MODELPORT_QUOTA_LEASE_S": str(LEASE_S),
            "LIMITS": msgspec.json.encode(limits).decode(),
            **{f"MODELPORT_{name.upper()}": str(value) for name, value in settings.items()},
        }
        made = []
        for index in range(proxies):
            (port,) = free_ports(1)
            skew = folder / f"skew-{index}"
            environment = {**told, "MODELPORT_PORT": str(port), "SKEW": str(skew)}
            server = _start(stack, folder, f"proxy-{index}", port, ("tests.attack.limited",), environment)
            made.append(Proxy(server, f"http://{LOOPBACK}:{port}", skew))
        yield Fleet(nats, postgres, upstream, made)


def _start(
    stack: ExitStack, folder: Path, name: str, port: int, module: tuple[str, ...], environment: dict[str, str]
) -> Server:
    command = ServerCommand(
        name=name,
        argv=(sys.executable, "-m", *module),
        cwd=str(folder),
        port=port,
        env={"PYTHONPATH": str(ROOT), **environment},
        ready_url=f"http://{LOOPBACK}:{port}/readyz",
    )
    server = Server(command, folder / f"{name}.log")
    stack.callback(server.stop)
    server.start()
    return server


async def _declare(nats: NatsServer) -> None:
    bus = Bus(nats.url, "test", Telemetry("test", TracerProvider(shutdown_on_exit=False)))
    await bus.connect()
    await bus.stop()
