"""The ledger in PostgreSQL: several processes at once, statements that come late."""

import asyncio
import sys
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from inference_proxy.ledger import Ledger
from servicekit.fixtures import Schema
from servicekit.postgres import Pool

USER = uuid4()


async def used(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT coalesce(sum(used), 0) FROM ledger WHERE user_id = $1", USER))


SPENDER = """
import asyncio, sys, time
from datetime import timedelta
from uuid import UUID
from contracts.errors import Permanent
from inference_proxy.ledger import Ledger
from inference_proxy.quota import Quota
from servicekit.postgres import create_pool

async def main(dsn, schema, name, user, limit, attempts):
    pool = await create_pool(dsn, schema=schema, max_size=2)
    quota = Quota(Ledger(pool, name, timedelta(seconds=30)), ttl_s=30, now=time.time)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    granted = 0
    gate = asyncio.Semaphore(16)
    async def one():
        nonlocal granted
        async with gate:
            try:
                (await quota.reserve(UUID(user), int(limit))).close(answered=True)
            except Permanent:
                return
            granted += 1
            await asyncio.sleep(0.002)
    await asyncio.gather(*(one() for _ in range(int(attempts))))
    await quota.close()
    print(granted, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.integration
async def test_three_processes_grant_exactly_the_limit(pool: Pool, pg_schema: Schema, tmp_path: Path) -> None:
    script = tmp_path / "spender.py"
    script.write_text(SPENDER)
    pipe = asyncio.subprocess.PIPE
    arguments = [(str(script), pg_schema.dsn, pg_schema.name, f"p{n}", str(USER), "1000", "500") for n in range(3)]
    spenders = [
        await asyncio.create_subprocess_exec(sys.executable, *given, stdin=pipe, stdout=pipe) for given in arguments
    ]
    for one in spenders:
        assert one.stdout is not None
        assert await one.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(one.communicate(b"go\n") for one in spenders))
    assert sum(int(out) for out, _ in answers) == 1000
    assert await used(pool) == 1000


@pytest.mark.integration
class TestLateStatements:
    """A statement that its proxy gave up may still reach the ledger, at any time."""

    async def renew(self, ledger: Ledger, lease: UUID, turn: int, spent: int, *, is_new: bool = False) -> int:
        answer = await ledger.renew(
            lease, is_new=is_new, turn=turn, user_id=USER, limit=100, spent=spent, ahead=5, size=25
        )
        return -1 if answer.lost else answer.ceiling

    async def test_a_late_renewal_gives_nothing_back(self, pool: Pool) -> None:
        ledger, lease = Ledger(pool, "one", timedelta(seconds=30)), uuid4()
        assert await self.renew(ledger, lease, 1, 0, is_new=True) == 5
        assert await self.renew(ledger, lease, 3, 5) == 10
        assert await self.renew(ledger, lease, 2, 0) == -1
        assert await pool.fetchval("SELECT ceiling FROM held") == 10

    async def test_a_late_first_renewal_raises_no_ended_lease(self, pool: Pool) -> None:
        ledger, lease = Ledger(pool, "one", timedelta(seconds=30)), uuid4()
        await ledger.settle(lease, user_id=USER, spent=0)
        assert await self.renew(ledger, lease, 1, 0, is_new=True) == -1
        assert await pool.fetchval("SELECT count(*) FROM held") == 0

    async def test_settled_and_counted_twice_is_settled_and_counted_once(self, pool: Pool) -> None:
        ledger, lease, batch = Ledger(pool, "one", timedelta(seconds=30)), uuid4(), uuid4()
        await self.renew(ledger, lease, 1, 0, is_new=True)
        for _ in range(2):
            await ledger.settle(lease, user_id=USER, spent=3)
            await ledger.count(batch, {(USER, date(2026, 1, 1)): 4})
        assert await used(pool) == 7
