"""Cancelled jobs are dropped or stopped; everybody else's go on."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from contracts.envelope import EventMeta
from contracts.events import ExportCancelledV1
from packager.cancellations import Cancellations

META = EventMeta(id="1", source="", type="", subject="", time=datetime.now(UTC))


class Work:
    """A job that waits until it is released, and remembers how it ended."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.ended = ""

    async def run(self) -> None:
        self.ended = "running"
        try:
            await self.release.wait()
            self.ended = "done"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


async def test_a_job_cancelled_before_it_began_never_runs():
    cancellations, job, work = Cancellations(), uuid4(), Work()
    await cancellations.on_cancelled(ExportCancelledV1(job_id=job), META)
    assert not await cancellations.run(job, work.run())
    assert work.ended == ""


async def test_a_running_job_is_stopped_and_others_go_on():
    cancellations, job, other = Cancellations(), uuid4(), uuid4()
    stopped, kept = Work(), Work()
    runs = [asyncio.create_task(cancellations.run(i, w.run())) for i, w in ((job, stopped), (other, kept))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancellations.on_cancelled(ExportCancelledV1(job_id=job), META)
    kept.release.set()
    assert await asyncio.gather(*runs) == [False, True]
    assert (stopped.ended, kept.ended) == ("cancelled", "done")


async def test_a_stop_of_the_service_goes_on_to_the_work():
    cancellations, work = Cancellations(), Work()
    run = asyncio.create_task(cancellations.run(uuid4(), work.run()))
    await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert work.ended == "cancelled"


async def test_errors_of_the_work_are_seen():
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Cancellations().run(uuid4(), fail())
