"""Threads are shared fairly: who sends much waits behind itself alone."""

import asyncio
import threading
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from inference_proxy.turns import Turns

HOG, OTHER, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    made = Turns(1, "picture")
    yield made
    made.close()


async def queued(turns: Turns, users: list[UUID]) -> tuple[list[UUID], threading.Event, list[asyncio.Task[None]]]:
    """Everybody queues while the only thread is held; `served` fills once it is let go."""
    served: list[UUID] = []
    go = threading.Event()
    first = asyncio.create_task(turns.run(HOG, go.wait))
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(turns.run(user, served.append, user)) for user in users]
    await asyncio.sleep(0)
    return served, go, [first, *tasks]


async def test_users_take_turns(turns: Turns) -> None:
    served, go, tasks = await queued(turns, [HOG] * 20 + [OTHER, THIRD, OTHER])
    go.set()
    await asyncio.gather(*tasks)
    assert served[:5] == [HOG, OTHER, THIRD, HOG, OTHER]
    assert len(served) == 23


async def test_a_cancelled_waiter_is_passed_over_and_takes_no_thread(turns: Turns) -> None:
    served, go, tasks = await queued(turns, [HOG, OTHER, THIRD])
    tasks[1].cancel()
    tasks[3].cancel()
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [OTHER]
    assert await turns.run(THIRD, threading.active_count) > 1


async def test_a_waiter_cancelled_just_after_its_turn_came_gives_it_back(turns: Turns) -> None:
    served, go, tasks = await queued(turns, [OTHER, THIRD])
    real = turns._pass_on

    def cancelling() -> None:
        real()
        tasks[1].cancel()

    turns._pass_on = cancelling
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert THIRD in served


async def test_work_that_fails_gives_its_thread_back(turns: Turns) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await turns.run(HOG, lambda: 1 // 0)
    assert await turns.run(HOG, lambda: "fine") == "fine"


async def test_as_many_run_at_once_as_there_are_threads() -> None:
    turns = Turns(2, "picture")
    barrier = threading.Barrier(2)
    async with asyncio.timeout(10):
        await asyncio.gather(*(turns.run(HOG, barrier.wait) for _ in range(2)))
    turns.close()
