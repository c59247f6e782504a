"""An event has its effect once."""

import asyncio
from datetime import timedelta

import pytest

from servicekit import inbox
from servicekit.postgres import Pool, transaction

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(pg_pool: Pool) -> Pool:
    await pg_pool.execute(inbox.TABLE_SQL)
    await pg_pool.execute("CREATE TABLE effects (n int)")
    return pg_pool


async def react(pool: Pool, event_id: str, *, fail: bool = False) -> None:
    async with transaction(pool) as conn:
        if await inbox.first_time(conn, "gateway", event_id):
            await conn.execute("INSERT INTO effects VALUES (1)")
        if fail:
            raise RuntimeError("crash before the commit")


async def test_duplicates_side_by_side_have_one_effect(pool: Pool) -> None:
    await asyncio.gather(*(react(pool, "e1") for _ in range(8)))
    assert await pool.fetchval("SELECT count(*) FROM effects") == 1


async def test_a_rolled_back_effect_is_done_by_the_redelivery(pool: Pool) -> None:
    with pytest.raises(RuntimeError):
        await react(pool, "e1", fail=True)
    await react(pool, "e1")
    assert await pool.fetchval("SELECT count(*) FROM effects") == 1


async def test_consumers_are_apart_and_old_rows_are_pruned(pool: Pool) -> None:
    async with transaction(pool) as conn:
        assert await inbox.first_time(conn, "a", "e1")
        assert await inbox.first_time(conn, "b", "e1")
        await conn.execute("UPDATE inbox SET received_at = now() - interval '40 days' WHERE consumer = 'a'")
    assert await inbox.prune(pool) == 1
    assert await inbox.prune(pool, timedelta(seconds=-60)) == 1
