"""Followers see the past, then the present, and never miss a fact for longer than a loss lasts."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from contracts.envelope import EventMeta
from contracts.errors import ErrorInfo
from contracts.events import DeploymentUpdatedV1, Event, ExportCancelledV1, ExportFailedV1
from servicekit.bus import Bus
from servicekit.replay import follow
from servicekit.testing import NatsServer, eventually

pytestmark = pytest.mark.integration


class Seen:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def __call__(self, event: Event, meta: EventMeta) -> None:
        self.events.append(event)


async def publish(bus: Bus, count: int = 1) -> list[Event]:
    events: list[Event] = [ExportCancelledV1(job_id=uuid4()) for _ in range(count)]
    for event in events:
        await bus.publish(event, subject_id="x")
    return events


async def test_the_past_in_order_then_the_present(bus: Bus) -> None:
    past = await publish(bus, 600)
    seen = Seen()
    follower = follow(bus, [ExportCancelledV1], seen, since="start")
    assert not follower.is_caught_up
    await follower.caught_up()
    assert seen.events == past
    past += await publish(bus, 3)
    await eventually(lambda: seen.events == past)
    await follower.stop()


async def test_whoever_asks_is_told_when_everything_until_now_was_handled(bus: Bus) -> None:
    """Also what was stored before the stretch that is followed, and facts of which there are none."""
    await publish(bus, 2)
    seen, gate = Seen(), asyncio.Event()

    async def handler(event: Event, meta: EventMeta) -> None:
        await gate.wait()
        await seen(event, meta)

    follower = follow(bus, [ExportCancelledV1, ExportFailedV1, DeploymentUpdatedV1], handler, since=None)
    await follower.caught_up()
    await follower.heard_all()
    new = await publish(bus, 3)
    asked = asyncio.create_task(follower.heard_all())
    assert not (await asyncio.wait({asked}, timeout=0.5))[0]
    gate.set()
    await asked
    assert seen.events == new
    await follower.stop()


async def test_only_new_facts_or_a_stretch_of_the_past(bus: Bus) -> None:
    old = await publish(bus, 2)
    fresh, recent = Seen(), Seen()
    followers = [
        follow(bus, [ExportCancelledV1], fresh, since=None),
        follow(bus, [ExportCancelledV1], recent, since=timedelta(hours=24)),
    ]
    for follower in followers:
        await follower.caught_up()
    new = await publish(bus)
    await eventually(lambda: fresh.events == new and recent.events == old + new)
    for follower in followers:
        await follower.stop()


async def test_several_types_of_one_stream_and_no_others(bus: Bus) -> None:
    seen = Seen()
    follower = follow(bus, [ExportCancelledV1, ExportFailedV1, DeploymentUpdatedV1], seen, since="start")
    await follower.caught_up()
    failed = ExportFailedV1(job_id=uuid4(), attempt=1, error=ErrorInfo(code="internal", message="x"))
    await bus.publish(failed, subject_id="x")
    (cancelled,) = await publish(bus)
    await eventually(lambda: seen.events == [failed, cancelled])
    await follower.stop()


async def test_poison_and_a_failing_handler_do_not_hide_the_rest(bus: Bus) -> None:
    seen: list[Event] = []

    async def handler(event: Event, meta: EventMeta) -> None:
        if not seen:
            seen.append(event)
            raise RuntimeError("once")
        seen.append(event)

    await bus.jetstream.publish("export.jobs.cancelled.v1", b"rubbish")
    follower = follow(bus, [ExportCancelledV1], handler, since="start")
    events = await publish(bus, 2)
    await eventually(lambda: seen == events)
    await follower.stop()


async def test_a_lost_consumer_and_a_restarted_server_cost_no_fact_and_double_none(
    bus: Bus, nats_server: NatsServer
) -> None:
    seen = Seen()
    follower = follow(bus, [ExportCancelledV1], seen, since="start")
    expected = await publish(bus, 3)
    await eventually(lambda: seen.events == expected)
    for consumer in await bus.jetstream.consumers_info("EXPORT"):
        await bus.jetstream.delete_consumer("EXPORT", consumer.name)
    expected += await publish(bus, 2)
    await eventually(lambda: seen.events == expected)
    await asyncio.to_thread(nats_server.restart)
    expected += await publish(bus, 2)
    await eventually(lambda: seen.events == expected)
    await follower.stop()


async def test_a_stream_made_anew_is_followed_from_its_start(bus: Bus) -> None:
    seen = Seen()
    follower = follow(bus, [ExportCancelledV1], seen, since="start")
    expected = await publish(bus, 3)
    await eventually(lambda: seen.events == expected)
    await bus.jetstream.delete_stream("EXPORT")
    await bus.declare()
    expected += await publish(bus, 1)
    await eventually(lambda: seen.events == expected)
    await follower.stop()


async def test_a_stream_made_anew_that_has_grown_past_the_old_one_is_followed_from_its_start(bus: Bus) -> None:
    seen = Seen()
    follower = follow(bus, [ExportCancelledV1], seen, since=None)
    await follower.caught_up()
    expected = await publish(bus, 1)
    await eventually(lambda: seen.events == expected)
    await bus.jetstream.delete_stream("EXPORT")
    await bus.declare()
    expected += await publish(bus, 3)
    await eventually(lambda: seen.events == expected)
    await follower.stop()


async def test_a_message_lost_on_its_way_is_asked_for_again(bus: Bus) -> None:
    """As when the connection breaks after the server has sent it: another reader of the same consumer takes it away."""
    seen = Seen()
    busy = asyncio.Event()
    proceed = asyncio.Event()

    async def handler(event: Event, meta: EventMeta) -> None:
        await seen(event, meta)
        busy.set()
        await proceed.wait()

    follower = follow(bus, [ExportCancelledV1], handler, since=None)
    await follower.caught_up()
    expected = await publish(bus)
    await busy.wait()
    expected += await publish(bus)
    (consumer,) = await bus.jetstream.consumers_info("EXPORT")
    thief = await bus.jetstream.pull_subscribe_bind(consumer=consumer.name, stream="EXPORT")
    assert len(await thief.fetch(1, timeout=2)) == 1
    proceed.set()
    await eventually(lambda: seen.events == expected)
    await follower.stop()
