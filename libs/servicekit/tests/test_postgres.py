"""The pool sees its schema, speaks JSON, and comes back after the server was killed."""

from pathlib import Path

import pytest

from contracts.errors import Permanent, Transient
from servicekit import testing
from servicekit.fixtures import Schema
from servicekit.postgres import Pool, create_pool, transaction
from servicekit.servers import free_ports

pytestmark = pytest.mark.integration


async def test_json_and_search_path(pg_pool: Pool, pg_schema: Schema) -> None:
    assert await pg_pool.fetchval("SELECT current_schema()") == pg_schema.name
    value = {"a": [1, None, "ü"]}
    assert await pg_pool.fetchval("SELECT $1::jsonb", value) == value
    assert await pg_pool.fetchval("SELECT $1::json", value) == value


async def test_a_transaction_commits_or_rolls_back(pg_pool: Pool) -> None:
    await pg_pool.execute("CREATE TABLE t (x int)")
    async with transaction(pg_pool) as conn:
        await conn.execute("INSERT INTO t VALUES (1)")

    async def fail() -> None:
        async with transaction(pg_pool) as conn:
            await conn.execute("INSERT INTO t VALUES (2)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await pg_pool.fetchval("SELECT array_agg(x) FROM t") == [1]


async def test_a_killed_server_is_waited_for(tmp_path: Path) -> None:
    with testing.postgres_server(tmp_path) as server:
        pool = await create_pool(server.dsn, schema="public", min_size=3)
        await pool.execute("CREATE TABLE t (x int)")
        for number in range(3):
            server.restart()
            async with transaction(pool) as conn:
                await conn.execute("INSERT INTO t VALUES ($1)", number)
        assert await pool.fetchval("SELECT count(*) FROM t") == 3
        server.kill()
        with pytest.raises(Transient, match="PostgreSQL does not answer"):
            async with transaction(pool, patience_s=0.5):
                pass
        pool.terminate()


async def test_an_absent_server_is_told_without_its_address() -> None:
    (port,) = free_ports(1)
    with pytest.raises(Transient, match=r"^PostgreSQL does not answer$"):
        _ = await create_pool(f"postgresql://a:b@127.0.0.1:{port}/x", schema="public", patience_s=0.3)


async def test_a_value_that_cannot_be_stored_is_nothing_to_try_again(pg_pool: Pool) -> None:
    with pytest.raises(Permanent, match="cannot be stored") as caught:
        async with transaction(pg_pool) as conn:
            await conn.fetchval("SELECT $1::text", "a\0b")
    assert caught.value.code == "invalid_request"


async def test_a_schema_name_that_needs_quoting_is_refused() -> None:
    with pytest.raises(ValueError, match="not a schema name"):
        _ = await create_pool("postgresql://unused", schema='a"; DROP')
