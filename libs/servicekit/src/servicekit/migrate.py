"""Brings a schema to its newest shape from plain SQL files, once, however many services start at the same time."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib.resources.abc import Traversable
from pathlib import Path

import asyncpg
import msgspec

from servicekit.patience import START_PATIENCE_S
from servicekit.postgres import Connection, Pool, check_schema, patiently

CHANGE_S = 3_600.0
"""What a change of a large table may take, and waiting for another service that is at it: longer than the pool allows a statement."""

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_ENTER = "SELECT set_config('search_path', $1, true)"
_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)"""


class MigrationError(RuntimeError):
    """The files and the database disagree; the sentence says which file and why."""


class Migration(msgspec.Struct, frozen=True):
    """One file; `checksum` is the SHA-256 of its text."""

    name: str
    sql: str
    checksum: str


async def migrate(
    pool_or_dsn: Pool | str, schema: str, directory: Traversable | Path, *, shared: Iterable[str] = ()
) -> list[str]:
    """Apply the `NNNN_name.sql` files not yet applied, in order, each in its own transaction; the names applied now.

    `shared` are idempotent statements (`outbox.TABLE_SQL`, `inbox.TABLE_SQL`) run before the files. The schema and its
    table `migrations` are made when missing. Raises MigrationError for a changed applied file or a bad name.
    """
    files = read(directory)
    async with _connection(pool_or_dsn) as connection:
        name = f"modelport.migrate.{check_schema(schema)}"
        await connection.execute("SELECT pg_advisory_lock(hashtext($1))", name, timeout=CHANGE_S)
        try:
            async with connection.transaction():
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                await connection.execute(_ENTER, schema)
                for sql in (_TABLE, *shared):
                    await connection.execute(sql)
            return await _apply(connection, schema, files)
        finally:
            if not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock(hashtext($1))", name)


def read(directory: Traversable | Path) -> list[Migration]:
    """The migrations of a folder in their order; MigrationError where two share a number or a name is malformed."""
    found = sorted((item for item in directory.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    numbers: dict[str, str] = {}
    result = []
    for item in found:
        match = _NAME.fullmatch(item.name)
        if match is None:
            raise MigrationError(f"{item.name}: name it NNNN_words.sql")
        if match[1] in numbers:
            raise MigrationError(f"{item.name} and {numbers[match[1]]} have the same number")
        numbers[match[1]] = item.name
        text = item.read_text(encoding="utf-8")
        result.append(Migration(item.name, text, hashlib.sha256(text.encode()).hexdigest()))
    return result


async def _apply(connection: Connection, schema: str, files: list[Migration]) -> list[str]:
    async with connection.transaction():
        await connection.execute(_ENTER, schema)
        rows = await connection.fetch("SELECT name, checksum FROM migrations")
    applied = {row["name"]: row["checksum"] for row in rows}
    done = []
    for file in files:
        if file.name in applied:
            if applied[file.name] != file.checksum:
                raise MigrationError(f"{file.name} was changed after it had been applied: add a new file instead")
            continue
        async with connection.transaction():
            await connection.execute(_ENTER, schema)
            await connection.execute(file.sql, timeout=CHANGE_S)
            await connection.execute(
                "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", file.name, file.checksum
            )
        done.append(file.name)
    return done


@asynccontextmanager
async def _connection(pool_or_dsn: Pool | str) -> AsyncIterator[Connection]:
    if isinstance(pool_or_dsn, str):
        dsn = pool_or_dsn
        connection = await patiently(lambda: asyncpg.connect(dsn), START_PATIENCE_S)
        try:
            yield connection
        finally:
            await connection.close()
    else:
        async with pool_or_dsn.acquire() as pooled:
            yield pooled
