"""Several proxies on one bus and one ledger, in front of a model that answers at once; and what can happen to them."""

import asyncio
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time

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
LEASE_S = 3
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
    proxies: list[Proxy]

    async def tenant(self, tier: Tier) -> "Tenant":
        """A new user, known to all proxies."""
        endpoint = alone.endpoint("")
        access = msgspec.structs.replace(endpoint.activation.access, tier=tier)
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


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(out, "JPEG")
    return out.getvalue()


PICTURE = _picture()


async def send(
    session: aiohttp.ClientSession, proxy: Proxy, tenant: Tenant, *, key: str = "", media_type: str = "image/jpeg"
) -> tuple[str, bytes, Mapping[str, str]]:
    """One request: the code of its answer ("ok", a problem's, or "unknown"), the body and the headers."""
    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": media_type}
    if key:
        headers["Idempotency-Key"] = key
    asked = time()
    try:
        async with session.post(proxy.url + tenant.path, data=PICTURE, headers=headers) as answer:
            body, told = await answer.read(), answer.headers
    except (aiohttp.ClientError, TimeoutError, OSError):
        tenant.codes["unknown"] += 1
        return "unknown", b"", {}
    code = "ok" if answer.status == 200 else str(msgspec.json.decode(body)["code"])
    tenant.codes[code] += 1
    if code == "ok":
        _note_minute(tenant, asked, told["RateLimit"])
    return code, body, told


def _note_minute(tenant: Tenant, asked: float, told: str) -> None:
    """The minute that the answer says it counts in, by its end; test and database share this machine's clock."""
    answered = time()
    left_s = int(told.partition('"minute";r=')[2].partition(";t=")[2].partition(",")[0])
    end = int(answered + left_s + 1) // 60 * 60
    tenant.admitted[end] += 1
    tenant.impossible += not (asked - 1 <= end and end - 60 <= answered + 1)


@contextmanager
def running(folder: Path, limits: Limits, *, proxies: int = 3, **settings: object) -> Iterator[Fleet]:
    """NATS, PostgreSQL, a model and `proxies`, with these tiers."""
    folder.chmod(0o755)
    with ExitStack() as stack:
        nats = stack.enter_context(nats_server(folder))
        postgres = stack.enter_context(postgres_server(folder))
        asyncio.run(_declare(nats))
        (port,) = free_ports(1)
        _start(stack, folder, "upstream", port, ("bench.upstream", str(port), "1"), {})
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
        yield Fleet(nats, postgres, made)


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
