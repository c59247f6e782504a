"""Long jobs: done once while all is well, done again after a crash, given up with a reason."""

import asyncio
from uuid import uuid4

import pytest

from contracts.envelope import EventMeta
from contracts.errors import Permanent, Transient
from contracts.events import ExportCancelledV1
from servicekit import jobs as jobs_module
from servicekit.bus import Bus
from servicekit.dead_letters import REASON, REASON_CODE
from servicekit.jobs import Exhausted, JobConsumer
from servicekit.leases import Lease, LeaseLost
from servicekit.testing import NatsServer, eventually

pytestmark = pytest.mark.integration

DURABLE = "test-job"


class Worker:
    """A handler with a duration, errors to raise, and a record of what happened."""

    def __init__(self, *errors: Exception, seconds: float = 0.0) -> None:
        self.errors = list(errors)
        self.seconds = seconds
        self.started: list[int] = []
        self.done: list[int] = []
        self.cancelled: list[int] = []
        self.exhausted: list[Exhausted] = []

    async def handle(self, event: ExportCancelledV1, meta: EventMeta, lease: Lease) -> None:
        self.started.append(lease.attempt)
        if self.errors:
            raise self.errors.pop(0)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled.append(lease.attempt)
            raise
        self.done.append(lease.attempt)

    async def on_exhausted(self, event: ExportCancelledV1, reason: Exhausted) -> None:
        self.exhausted.append(reason)


async def consumer(
    bus: Bus, worker: Worker, *, slots: int = 1, max_deliver: int = 5, ack_wait_s: float = 1.0, heartbeat_s: float = 0.3
) -> JobConsumer[ExportCancelledV1]:
    made = JobConsumer(
        bus,
        event_type=ExportCancelledV1,
        durable=DURABLE,
        handler=worker.handle,
        on_exhausted=worker.on_exhausted,
        slots=slots,
        max_deliver=max_deliver,
        ack_wait_s=ack_wait_s,
        heartbeat_s=heartbeat_s,
    )
    await made.start()
    return made


async def publish(bus: Bus) -> ExportCancelledV1:
    event = ExportCancelledV1(job_id=uuid4())
    await bus.publish(event, subject_id=event.job_id, sequence=1)
    return event


async def settled(bus: Bus) -> bool:
    info = await bus.jetstream.consumer_info("EXPORT", DURABLE)
    return bool(info.num_pending == 0 and info.num_ack_pending == 0)


async def letters(bus: Bus) -> int:
    return int((await bus.jetstream.stream_info("DEADLETTER")).state.messages)


async def test_a_job_longer_than_ack_wait_is_delivered_once(bus: Bus) -> None:
    worker = Worker(seconds=2.5)
    jobs = await consumer(bus, worker)
    await publish(bus)
    await eventually(lambda: worker.done == [1])
    await eventually(lambda: settled(bus))
    assert worker.started == [1]
    assert (await bus.jetstream.consumer_info("EXPORT", DURABLE)).delivered.consumer_seq == 1
    await jobs.stop()


async def test_slots_run_side_by_side_and_take_no_more_than_they_run(bus: Bus) -> None:
    worker = Worker(seconds=1.0)
    jobs = await consumer(bus, worker, slots=2)
    for _ in range(3):
        await publish(bus)
    await eventually(lambda: jobs.busy == 2)
    assert (await bus.jetstream.consumer_info("EXPORT", DURABLE)).num_ack_pending == 2
    await eventually(lambda: len(worker.done) == 3)
    await jobs.stop()


async def test_a_failing_job_is_tried_again_then_given_up_with_its_last_reason(bus: Bus) -> None:
    worker = Worker(RuntimeError("first"), Transient("timeout", "second"))
    jobs = await consumer(bus, worker, max_deliver=2)
    event = await publish(bus)
    await eventually(lambda: len(worker.exhausted) == 1)
    assert worker.started == [1, 2]
    (reason,) = worker.exhausted
    assert (reason.code, reason.message, reason.attempt) == ("timeout", "second", 2)
    await eventually(lambda: settled(bus))
    letter = await bus.jetstream.get_msg("DEADLETTER", seq=1)
    assert (letter.headers or {})[REASON] == "second"
    assert str(event.job_id).encode() in letter.data
    await jobs.stop()


async def test_an_outage_is_waited_for_longer_but_not_for_ever(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "backoff", lambda _: 0.05)
    worker = Worker(Transient("unavailable", "Triton is away"), Transient("unavailable", "Triton is away"))
    jobs = await consumer(bus, worker, max_deliver=1)
    await publish(bus)
    await eventually(lambda: worker.done == [3])
    worker.errors = [Transient("unavailable", "Triton is away")] * 9
    await publish(bus)
    await eventually(lambda: [reason.attempt for reason in worker.exhausted] == [4], patience_s=40)
    await jobs.stop()


async def test_a_permanent_error_is_given_up_at_once(bus: Bus) -> None:
    worker = Worker(Permanent("checkpoint_unreadable", "truncated"))
    jobs = await consumer(bus, worker)
    await publish(bus)
    await eventually(lambda: [reason.code for reason in worker.exhausted] == ["checkpoint_unreadable"])
    await eventually(lambda: settled(bus))
    assert (worker.started, await letters(bus)) == ([1], 1)
    await jobs.stop()


async def test_a_body_that_cannot_be_read_is_dead_lettered_and_passed_by(bus: Bus) -> None:
    worker = Worker()
    jobs = await consumer(bus, worker)
    await bus.jetstream.publish("export.jobs.cancelled.v1", b"[]")
    await publish(bus)
    await eventually(lambda: worker.done == [1])
    headers = (await bus.jetstream.get_msg("DEADLETTER", seq=1)).headers or {}
    assert headers[REASON_CODE] == "undecodable_event"
    assert worker.exhausted == []
    await jobs.stop()


async def test_a_duplicate_of_a_completed_job_does_nothing(bus: Bus) -> None:
    worker = Worker()
    jobs = await consumer(bus, worker)
    event = await publish(bus)
    await eventually(lambda: worker.done == [1])
    await bus.publish(event, subject_id=event.job_id, event_id="another id of the same job")
    await eventually(lambda: settled(bus))
    assert worker.started == [1]
    await jobs.stop()


async def test_stop_waits_for_the_running_job(bus: Bus) -> None:
    worker = Worker(seconds=0.5)
    jobs = await consumer(bus, worker)
    await publish(bus)
    await eventually(lambda: worker.started == [1])
    await jobs.stop(grace_s=10)
    assert (worker.done, worker.cancelled) == ([1], [])


async def test_stop_hands_a_long_job_back_without_counting_a_failure(bus: Bus) -> None:
    worker = Worker(seconds=60)
    jobs = await consumer(bus, worker)
    await publish(bus)
    await eventually(lambda: worker.started == [1])
    await jobs.stop(grace_s=0.1)
    assert worker.cancelled == [1]
    successor = Worker()
    jobs = await consumer(bus, successor, max_deliver=1)
    await eventually(lambda: successor.done == [2])
    await jobs.stop()


async def test_cancelling_a_consumer_ends_it_and_hands_its_job_back(bus: Bus) -> None:
    worker = Worker(seconds=60)
    jobs = await consumer(bus, worker)
    await publish(bus)
    await eventually(lambda: worker.started == [1])
    (slot,) = jobs._tasks
    slot.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(slot, 5)
    successor = Worker()
    jobs = await consumer(bus, successor)
    await eventually(lambda: successor.done == [2])
    await jobs.stop()


async def test_an_attempt_that_lost_its_lease_is_cancelled_and_settles_nothing(bus: Bus) -> None:
    worker = Worker(seconds=60)
    jobs = await consumer(bus, worker, ack_wait_s=30.0, heartbeat_s=0.2)
    event = await publish(bus)
    await eventually(lambda: worker.started == [1])
    bucket = await bus.kv("leases")
    await bucket.put(
        f"{DURABLE}.{event.job_id}", b'{"attempt":2,"worker":"b","state":"running","heartbeat":0,"token":"t"}'
    )
    await eventually(lambda: worker.cancelled == [1])
    assert not await settled(bus)
    assert worker.exhausted == []
    await jobs.stop()


async def test_a_zombies_handler_cannot_state_its_end(bus: Bus) -> None:
    lost: list[int] = []

    async def handle(event: ExportCancelledV1, meta: EventMeta, lease: Lease) -> None:
        bucket = await bus.kv("leases")
        other = b'{"attempt":9,"worker":"b","state":"done","heartbeat":0,"token":"t"}'
        await bucket.put(lease.key, other)
        try:
            await lease.heartbeat()
        except LeaseLost:
            lost.append(lease.attempt)
            raise

    worker = Worker()
    worker.handle = handle
    jobs = await consumer(bus, worker)
    await publish(bus)
    await eventually(lambda: lost == [1])
    await eventually(lambda: settled(bus))
    assert worker.exhausted == []
    await jobs.stop()


async def test_a_deleted_consumer_and_a_restarted_server_are_survived(bus: Bus, nats_server: NatsServer) -> None:
    worker = Worker()
    jobs = await consumer(bus, worker)
    await publish(bus)
    await eventually(lambda: len(worker.done) == 1)
    await bus.jetstream.delete_consumer("EXPORT", DURABLE)
    await publish(bus)
    await eventually(lambda: len(worker.done) == 2)
    await asyncio.to_thread(nats_server.restart)
    await publish(bus)
    await eventually(lambda: len(worker.done) == 3)
    worker.seconds = 2.0
    await publish(bus)
    await eventually(lambda: len(worker.started) == 4)
    await asyncio.to_thread(nats_server.restart)
    await eventually(lambda: len(worker.done) == 4)
    await eventually(lambda: settled(bus))
    await jobs.stop()


async def test_jobs_that_have_used_up_half_of_their_tries_run_one_at_a_time(bus: Bus) -> None:
    together: list[int] = []
    running: list[int] = []

    class Fragile(Worker):
        async def handle(self, event: ExportCancelledV1, meta: EventMeta, lease: Lease) -> None:
            if lease.attempt == 1:
                raise RuntimeError("the first attempt fails")
            running.append(lease.attempt)
            together.append(len(running))
            await asyncio.sleep(0.3)
            running.pop()
            self.done.append(lease.attempt)

    worker = Fragile()
    jobs = await consumer(bus, worker, slots=3, max_deliver=2)
    for _ in range(3):
        await publish(bus)
    await eventually(lambda: len(worker.done) == 3)
    await jobs.stop()
    assert together == [1, 1, 1]
