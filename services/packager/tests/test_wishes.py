"""Only the newest wish counts: what is older is not begun, or stopped and waited for."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from msgspec import Struct

from contracts.envelope import EventMeta
from contracts.events import DeploymentRequestedV1
from contracts.vocabulary import DeploymentType, DesiredState
from packager.wishes import Wishes

META = EventMeta(id="1", source="", type="", subject="", time=datetime.now(UTC))


class Asked(Struct, frozen=True, kw_only=True):
    """What the table looks at of a request."""

    deployment_id: UUID
    generation: int
    deployment_type: DeploymentType = DeploymentType.EDGE_PACKAGE
    desired: DesiredState = DesiredState.ACTIVE


def asked(deployment_id: UUID, generation: int, **more: Any) -> DeploymentRequestedV1:
    return cast(DeploymentRequestedV1, Asked(deployment_id=deployment_id, generation=generation, **more))


class Work:
    """A build that waits until it is released, and takes its time to stop."""

    def __init__(self, log: list[str], name: str) -> None:
        self.begun, self.release = asyncio.Event(), asyncio.Event()
        self._log, self._name = log, name

    async def run(self) -> None:
        self._log.append(f"{self._name} began")
        self.begun.set()
        try:
            await self.release.wait()
            self._log.append(f"{self._name} done")
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self._log.append(f"{self._name} stopped")
            raise


async def test_what_was_overtaken_before_it_began_never_runs():
    wishes, one, log = Wishes(), uuid4(), []
    await wishes.on_requested(asked(one, 2), META)
    assert not await wishes.run(asked(one, 1), Work(log, "first").run())
    assert log == []


@pytest.mark.parametrize("told_by", ["the bus", "its own slot"])
async def test_a_newer_wish_stops_the_older_and_waits_for_its_end(told_by):
    wishes, one, log = Wishes(), uuid4(), []
    first, second = Work(log, "first"), Work(log, "second")
    running = asyncio.create_task(wishes.run(asked(one, 1), first.run()))
    await first.begun.wait()
    if told_by == "the bus":
        await wishes.on_requested(asked(one, 2), META)
    second.release.set()
    assert await wishes.run(asked(one, 2), second.run())
    assert not await running
    assert log == ["first began", "first stopped", "second began", "second done"]


async def test_other_deployments_and_the_same_wish_again_stop_nothing():
    wishes, one, log = Wishes(), uuid4(), []
    work = Work(log, "it")
    running = asyncio.create_task(wishes.run(asked(one, 2), work.run()))
    await work.begun.wait()
    for other in (
        asked(one, 2),
        asked(one, 1),
        asked(uuid4(), 9),
        asked(one, 3, deployment_type=DeploymentType.PLATFORM_ENDPOINT),
    ):
        await wishes.on_requested(other, META)
    work.release.set()
    assert await running
    assert log == ["it began", "it done"]


async def test_a_stop_of_the_service_ends_the_work():
    wishes, log = Wishes(), []
    work = Work(log, "it")
    running = asyncio.create_task(wishes.run(asked(uuid4(), 1), work.run()))
    await work.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log == ["it began", "it stopped"]
