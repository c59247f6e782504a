"""PostgreSQL pools for asyncpg: one schema a service, JSON by msgspec, patient with a server that restarts."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import asyncpg
import msgspec

from contracts.errors import Permanent
from servicekit import patience
from servicekit.patience import START_PATIENCE_S

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection

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

R = TypeVar("R")

PROOF_S = 5.0
"""How long a connection may take to show that its server still listens, before it is thrown away."""
COMMAND_S = 10.0
ABANDONED_S = 30
"""A transaction whose client says nothing for so long is ended by the server: its client may be gone, and its locks are not."""


async def create_pool(
    dsn: str, *, schema: str, min_size: int = 1, max_size: int = 10, patience_s: float = START_PATIENCE_S
) -> Pool:
    """A pool whose connections see `schema` alone and map json and jsonb to plain Python values.

    Waits until the server answers; Transient `unavailable` after `patience_s`. The schema need not exist yet. Every
    connection proves itself when it is acquired: one that died unnoticed, as behind a firewall that has forgotten it,
    is thrown away before anything was done, and all the others that are as old with it.
    """
    check_schema(schema)

    async def connect() -> Pool:
        async def prove(connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
            try:
                await connection.execute("SELECT 1", timeout=PROOF_S)
            except TimeoutError:
                connection.terminate()
                await pool.expire_connections()
                raise

        pool = await asyncpg.create_pool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            init=_init_connection,
            setup=prove,
            server_settings={
                "search_path": schema,
                "application_name": f"modelport-{schema}",
                "idle_in_transaction_session_timeout": f"{ABANDONED_S}s",
            },
            command_timeout=COMMAND_S,
            timeout=10,
        )
        return pool

    return await patiently(connect, patience_s)


@asynccontextmanager
async def transaction(pool: Pool, *, patience_s: float = 15.0) -> AsyncIterator[Connection]:
    """One transaction on a fresh connection, committed at the end of the block.

    Getting a live connection is retried while the server is away; the block itself never is. Permanent `invalid_request`
    for a value that the database cannot store, such as text with a NUL character: trying again cannot help.
    """
    connection = await patiently(lambda: pool.acquire(timeout=10), patience_s)
    try:
        async with connection.transaction():
            yield connection
    except asyncpg.DataError as error:
        raise unstorable(error) from error
    finally:
        await pool.release(connection)


def unstorable(error: asyncpg.DataError) -> Permanent:
    """What a client is told of a value that the database refuses."""
    return Permanent("invalid_request", f"A value cannot be stored: {error}.")


async def patiently(action: Callable[[], Awaitable[R]], patience_s: float) -> R:
    """Repeat `action` while the server is unreachable; Transient `unavailable` when patience ends."""
    return await patience.patiently(action, "PostgreSQL", UNREACHABLE, patience_s)


def check_schema(schema: str) -> str:
    """The name itself; ValueError where it would need quoting."""
    if not _IDENTIFIER.fullmatch(schema):
        raise ValueError(f"{schema!r} is not a schema name: use lower case letters, digits and _")
    return schema


async def listens(connection: Connection) -> None:
    """Prove that a connection that only waits for notifications still has its server; raises one of UNREACHABLE."""
    try:
        await connection.execute("SELECT 1", timeout=PROOF_S)
    except TimeoutError:
        connection.terminate()
        raise


async def _init_connection(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=_encode_json, decoder=msgspec.json.decode, schema="pg_catalog")


def _encode_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
