"""PostgreSQL pools for asyncpg: one schema a service, JSON by msgspec, patient with a server that restarts."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import asyncpg
import msgspec

from contracts.errors import Transient

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection

CONNECT_PATIENCE_S = 60.0
_RETRY_S = 0.2
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""What asyncpg raises while a server is starting, stopping or away."""

_log = logging.getLogger(__name__)
R = TypeVar("R")


async def create_pool(
    dsn: str, *, schema: str, min_size: int = 1, max_size: int = 10, patience_s: float = CONNECT_PATIENCE_S
) -> Pool:
    """A pool whose connections see `schema` alone and map json and jsonb to plain Python values.

    Waits until the server answers; Transient `unavailable` after `patience_s`. The schema need not exist yet.
    """
    check_schema(schema)

    async def connect() -> Pool:
        return await asyncpg.create_pool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            init=_init_connection,
            server_settings={"search_path": schema, "application_name": f"modelport-{schema}"},
            command_timeout=60,
            timeout=10,
        )

    return await patiently(connect, patience_s)


@asynccontextmanager
async def transaction(pool: Pool, *, patience_s: float = 15.0) -> AsyncIterator[Connection]:
    """One transaction on a fresh connection, committed at the end of the block.

    Getting a live connection is retried while the server is away; the block itself never is.
    """
    connection = await patiently(lambda: _live_connection(pool), patience_s)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await pool.release(connection)


async def patiently(action: Callable[[], Awaitable[R]], patience_s: float) -> R:
    """Repeat `action` while the server is unreachable; Transient `unavailable` when patience ends."""
    deadline = time.monotonic() + patience_s
    told = False
    while True:
        try:
            return await action()
        except UNREACHABLE as error:
            if time.monotonic() >= deadline:
                raise Transient(
                    "unavailable", f"PostgreSQL does not answer: {type(error).__name__}: {error}"
                ) from error
            if not told:
                _log.warning("waiting for PostgreSQL: %s: %s", type(error).__name__, error)
                told = True
        await asyncio.sleep(_RETRY_S)


def check_schema(schema: str) -> str:
    """The name itself; ValueError where it would need quoting."""
    if not _IDENTIFIER.fullmatch(schema):
        raise ValueError(f"{schema!r} is not a schema name: use lower case letters, digits and _")
    return schema


async def _live_connection(pool: Pool) -> "PoolConnectionProxy[asyncpg.Record]":
    """A connection that has just answered: one that died unnoticed is thrown away here, before anything was done."""
    connection = await pool.acquire(timeout=10)
    try:
        await connection.execute("SELECT 1")
    except BaseException:
        await pool.release(connection)
        raise
    return connection


async def _init_connection(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=_encode_json, decoder=msgspec.json.decode, schema="pg_catalog")


def _encode_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
