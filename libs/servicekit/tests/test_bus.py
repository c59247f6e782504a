"""Reactions: typed, traced, tried again, dead-lettered with a reason, and alive after every loss."""

import asyncio
import time
from functools import partial
from uuid import uuid4

import pytest
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from contracts.envelope import EventMeta
from contracts.errors import Permanent, Transient
from contracts.events import ExportCancelledV1, TrainingCompletedV1
from contracts.subjects import STREAMS
from contracts.vocabulary import Framework, TaskType
from servicekit.bus import Bus
from servicekit.dead_letters import REASON, REASON_CODE
from servicekit.telemetry import Telemetry, current_trace_id
from servicekit.testing import NatsServer, eventually

pytestmark = pytest.mark.integration

CANCELLED = "export.jobs.cancelled.v1"


class Recorder:
    """A handler that keeps what it gets, after raising the errors it was given."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.got: list[ExportCancelledV1] = []
        self.metas: list[EventMeta] = []
        self.traces: list[str] = []
        self.calls = 0

    async def __call__(self, event: ExportCancelledV1, meta: EventMeta) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.got.append(event)
        self.metas.append(meta)
        self.traces.append(current_trace_id())

    def has_seen(self, count: int) -> bool:
        return len({event.job_id for event in self.got}) == count


async def started(bus: Bus, handler: Recorder, *, max_deliver: int = 5, ack_wait_s: float = 30.0) -> None:
    bus.subscribe(
        ExportCancelledV1, handler=handler, durable="test-cancelled", max_deliver=max_deliver, ack_wait_s=ack_wait_s
    )
    await bus.start()


async def dead_letters(bus: Bus) -> list[Msg]:
    state = (await bus.jetstream.stream_info("DEADLETTER")).state
    return [await bus.jetstream.get_msg("DEADLETTER", seq=n + 1) for n in range(state.messages)]


async def has_dead_letters(bus: Bus, count: int) -> bool:
    return len(await dead_letters(bus)) == count


async def settled(bus: Bus, durable: str = "test-cancelled") -> bool:
    info = await bus.jetstream.consumer_info("EXPORT", durable)
    return bool(info.num_pending == 0 and info.num_ack_pending == 0)


async def test_an_event_arrives_typed_with_its_attributes_and_trace(bus: Bus, telemetry: Telemetry) -> None:
    handler = Recorder()
    await started(bus, handler)
    event = ExportCancelledV1(job_id=uuid4())
    with telemetry.span("request"):
        trace_id = current_trace_id()
        identity = await bus.publish(event, subject_id=event.job_id, sequence=3)
    await eventually(lambda: handler.got == [event])
    (meta,) = handler.metas
    assert (meta.id, meta.source, meta.subject) == (identity, "/modelport/test", str(event.job_id))
    assert handler.traces == [trace_id]
    await eventually(lambda: settled(bus))


async def test_the_same_id_is_published_once_and_other_ids_differ(bus: Bus) -> None:
    event = ExportCancelledV1(job_id=uuid4())
    first = await bus.publish(event, subject_id=event.job_id, sequence=1)
    assert await bus.publish(event, subject_id=event.job_id, sequence=1) == first
    assert await bus.publish(event, subject_id=event.job_id) != first
    assert (await bus.jetstream.stream_info("EXPORT")).state.messages == 2


async def test_facts_of_one_subject_are_handled_in_order(bus: Bus) -> None:
    handler = Recorder()
    await started(bus, handler)
    events = [ExportCancelledV1(job_id=uuid4()) for _ in range(100)]
    for event in events:
        await bus.publish(event, subject_id=event.job_id)
    await eventually(lambda: len(handler.got) == len(events))
    assert handler.got == events


async def test_a_transient_error_is_tried_again(bus: Bus) -> None:
    handler = Recorder(Transient("unavailable", "later"), RuntimeError("unknown"))
    await started(bus, handler)
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: len(handler.got) == 1)
    assert handler.calls == 3
    assert await dead_letters(bus) == []


async def test_an_outage_of_another_server_is_waited_for_longer(bus: Bus) -> None:
    handler = Recorder(Transient("unavailable", "PostgreSQL is away"), Transient("unavailable", "still away"))
    await started(bus, handler, max_deliver=1)
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: len(handler.got) == 1)
    assert await dead_letters(bus) == []


async def test_a_reaction_longer_than_ack_wait_is_delivered_once(bus: Bus) -> None:
    calls: list[int] = []

    async def slow(event: ExportCancelledV1, meta: EventMeta) -> None:
        calls.append(1)
        await asyncio.sleep(2)

    bus.subscribe(ExportCancelledV1, handler=slow, durable="test-cancelled", ack_wait_s=0.5)
    await bus.start()
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: calls == [1])
    await eventually(lambda: settled(bus))
    await asyncio.sleep(0.7)
    assert calls == [1]


async def test_a_permanent_error_is_dead_lettered_at_once(bus: Bus) -> None:
    handler = Recorder(Permanent("conflict", "never\nworks"))
    await started(bus, handler)
    event = ExportCancelledV1(job_id=uuid4())
    identity = await bus.publish(event, subject_id="x")
    await eventually(lambda: has_dead_letters(bus, 1))
    (letter,) = await dead_letters(bus)
    headers = letter.headers or {}
    assert letter.subject == "deadletter.test-cancelled"
    assert (headers[REASON_CODE], headers[REASON]) == ("conflict", "never works")
    assert (headers["ce-id"], headers["modelport-subject"]) == (identity, CANCELLED)
    assert str(event.job_id).encode() in letter.data
    await eventually(lambda: settled(bus))
    assert handler.calls == 1


async def test_after_max_deliver_the_last_reason_is_kept(bus: Bus) -> None:
    handler = Recorder(*(RuntimeError(f"try {n}") for n in (1, 2, 3)))
    await started(bus, handler, max_deliver=2)
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: has_dead_letters(bus, 1))
    headers = (await dead_letters(bus))[0].headers or {}
    assert "RuntimeError: try 2" in headers[REASON]
    assert headers["modelport-deliveries"] == "2"
    assert handler.calls == 2


@pytest.mark.parametrize("body", [b"not json", b"{}", b'{"type":"export.jobs.cancelled.v1","job_id":"x"}', b"\xff"])
async def test_poison_goes_to_the_dead_letters_and_the_next_event_is_handled(bus: Bus, body: bytes) -> None:
    handler = Recorder()
    await started(bus, handler)
    await bus.jetstream.publish(CANCELLED, body)
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: len(handler.got) == 1)
    (letter,) = await dead_letters(bus)
    assert (letter.headers or {})[REASON_CODE] == "undecodable_event"
    assert letter.data == body


async def test_a_foreign_event_without_envelope_gets_an_id(bus: Bus) -> None:
    handler = Recorder()
    await started(bus, handler)
    await bus.jetstream.publish(CANCELLED, b'{"type":"export.jobs.cancelled.v1","job_id":"%s"}' % str(uuid4()).encode())
    await eventually(lambda: len(handler.got) == 1)
    assert handler.metas[0].id == "EXPORT-1"
    await bus.jetstream.publish(CANCELLED, b"{}", headers={"ce-time": "yesterday"})
    await eventually(lambda: has_dead_letters(bus, 1))


async def test_a_deleted_consumer_is_made_again_without_spinning_or_replay(bus: Bus) -> None:
    handler = Recorder()
    await started(bus, handler)
    for _ in range(3):
        await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: len(handler.got) == 3)
    await bus.jetstream.delete_consumer("EXPORT", "test-cancelled")
    started_at, used = time.monotonic(), time.process_time()
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: len(handler.got) >= 4)
    assert time.process_time() - used < 0.5 * (time.monotonic() - started_at) + 0.5
    await eventually(lambda: settled(bus))
    assert len({event.job_id for event in handler.got}) == 4


async def test_a_restarted_server_delivers_what_was_not_settled(bus: Bus, nats_server: NatsServer) -> None:
    handler = Recorder()
    await started(bus, handler, ack_wait_s=2)
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: len(handler.got) == 1)
    for count in (2, 3):
        await asyncio.to_thread(nats_server.restart)
        await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
        await eventually(partial(handler.has_seen, count))
    await bus.check()


async def test_publishing_waits_for_an_absent_server_then_tells(bus: Bus, nats_server: NatsServer) -> None:
    nats_server.kill()
    sending = asyncio.create_task(bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x"))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(nats_server.start)
    await sending
    assert (await bus.jetstream.stream_info("EXPORT")).state.messages == 1
    await bus.check()
    nats_server.kill()
    with pytest.raises(Transient, match="NATS does not answer"):
        await bus.check()


async def test_streams_and_consumers_are_updated_at_start(
    nats_server: NatsServer, bus: Bus, telemetry: Telemetry
) -> None:
    jetstream = bus.jetstream
    for stream in STREAMS:
        await jetstream.update_stream(StreamConfig(name=stream.name, subjects=list(stream.subjects), max_age=60))
    stale = ConsumerConfig(
        durable_name="test-cancelled",
        filter_subject="export.jobs.failed.v1",
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=99,
    )
    await jetstream.add_consumer("EXPORT", stale)
    second = Bus(nats_server.url, "second", telemetry)
    handler = Recorder()
    await started(second, handler, ack_wait_s=7)
    info = await jetstream.consumer_info("EXPORT", "test-cancelled")
    assert (info.config.ack_wait, info.config.filter_subjects or [info.config.filter_subject]) == (7, [CANCELLED])
    ages = {s.name: (await jetstream.stream_info(s.name)).config.max_age for s in STREAMS}
    assert ages == {s.name: s.max_age.total_seconds() if s.max_age else 0 for s in STREAMS}
    await second.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await eventually(lambda: len(handler.got) == 1)
    await second.stop()


async def test_stop_lets_the_running_reaction_finish(bus: Bus) -> None:
    done: list[int] = []
    running = asyncio.Event()

    async def slow(event: ExportCancelledV1, meta: EventMeta) -> None:
        running.set()
        await asyncio.sleep(0.5)
        done.append(1)

    bus.subscribe(ExportCancelledV1, handler=slow, durable="test-slow")
    await bus.start()
    await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")
    await running.wait()
    await bus.stop()
    assert done == [1]


async def test_stop_while_the_server_is_away(bus: Bus, nats_server: NatsServer) -> None:
    await started(bus, Recorder())
    nats_server.kill()
    await asyncio.sleep(0.3)
    await bus.stop()
    assert not bus.is_connected


async def test_subscribe_after_start_is_refused(bus: Bus) -> None:
    await started(bus, Recorder())
    with pytest.raises(RuntimeError, match="before start"):
        bus.subscribe(ExportCancelledV1, handler=Recorder(), durable="late")


async def test_an_unconnected_bus_says_so(telemetry: Telemetry) -> None:
    with pytest.raises(RuntimeError, match="not connected"):
        _ = Bus("nats://127.0.0.1:1", "x", telemetry).jetstream


async def test_an_event_too_large_for_the_bus_is_permanent(bus: Bus) -> None:
    event = TrainingCompletedV1(
        training_job_id=uuid4(),
        user_id=uuid4(),
        framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet18",
        checkpoint_path="s3://b/k",
        classes=["x" * 1000] * 9000,
    )
    with pytest.raises(Permanent, match="too large"):
        await bus.publish(event, subject_id="x")
