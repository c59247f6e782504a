"""Ending tasks, and finishing what must not be left half done."""

import asyncio

import pytest

from servicekit import tasks


async def test_what_must_be_finished_is_finished_however_often_its_task_is_cancelled() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def clean_up() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await tasks.finish(clean_up())

    running = asyncio.create_task(job())
    await asyncio.sleep(0)
    ending = asyncio.create_task(tasks.end(running))
    await begun.wait()
    await asyncio.sleep(2 * tasks.PATIENCE_S)
    assert not running.done()
    may_end.set()
    await ending
    assert ended.is_set()
    assert running.cancelled()


async def test_the_answer_and_the_error_of_what_is_finished_are_its_own() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise LookupError

    assert await tasks.finish(answer()) == 7
    with pytest.raises(LookupError):
        await tasks.finish(fail())
