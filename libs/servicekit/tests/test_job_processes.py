"""Long jobs in processes that are killed or frozen."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.events import ExportCancelledV1
from servicekit.bus import Bus
from servicekit.testing import NatsServer, eventually

pytestmark = pytest.mark.integration

DURABLE = "test-job"
WORKER = """
    import asyncio, sys
    from opentelemetry.sdk.trace import TracerProvider
    from contracts.events import ExportCancelledV1
    from servicekit.bus import Bus
    from servicekit.jobs import JobConsumer
    from servicekit.telemetry import Telemetry

    async def handle(event, meta, lease):
        print("started", lease.attempt, flush=True)
        await asyncio.sleep(float(sys.argv[2]))
        await lease.heartbeat()
        print("stated", lease.attempt, flush=True)

    async def give_up(event, reason):
        print("exhausted", reason.code, reason.attempt, flush=True)

    async def main():
        bus = Bus(sys.argv[1], "worker", Telemetry("worker", TracerProvider()))
        await bus.connect()
        jobs = JobConsumer(bus, event_type=ExportCancelledV1, durable="test-job", handler=handle,
                           on_exhausted=give_up, ack_wait_s=1.0, heartbeat_s=0.3, max_deliver=2)
        await jobs.start()
        await asyncio.sleep(60)

    asyncio.run(main())
"""


async def publish(bus: Bus) -> ExportCancelledV1:
    event = ExportCancelledV1(job_id=uuid4())
    await bus.publish(event, subject_id=event.job_id, sequence=1)
    return event


async def settled(bus: Bus) -> bool:
    info = await bus.jetstream.consumer_info("EXPORT", DURABLE)
    return bool(info.num_pending == 0 and info.num_ack_pending == 0)


class WorkerProcess:
    """A worker of its own, to be killed or frozen."""

    def __init__(self, folder: Path, url: str, seconds: float) -> None:
        script = folder / "worker.py"
        script.write_text(textwrap.dedent(WORKER))
        self.log = folder / f"{uuid4()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, str(script), url, str(seconds)], stdout=log)

    def said(self, line: str) -> bool:
        return line in self.log.read_text().splitlines()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def test_a_killed_process_is_followed_by_another_then_given_up(
    bus: Bus, nats_server: NatsServer, tmp_path: Path
) -> None:
    workers = [WorkerProcess(tmp_path, nats_server.url, 60)]
    try:
        event = await publish(bus)
        await eventually(lambda: workers[-1].said("started 1"))
        workers[-1].kill()
        workers.append(WorkerProcess(tmp_path, nats_server.url, 60))
        await eventually(lambda: workers[-1].said("started 2"))
        workers[-1].kill()
        workers.append(WorkerProcess(tmp_path, nats_server.url, 60))
        await eventually(lambda: workers[-1].said("exhausted worker_lost 3"))
        await eventually(lambda: settled(bus))
        letter = await bus.jetstream.get_msg("DEADLETTER", seq=1)
        assert str(event.job_id).encode() in letter.data
    finally:
        for worker in workers:
            worker.kill()


async def test_a_frozen_process_cannot_state_its_end_after_waking(
    bus: Bus, nats_server: NatsServer, tmp_path: Path
) -> None:
    zombie = WorkerProcess(tmp_path, nats_server.url, 3)
    successor = None
    try:
        await publish(bus)
        await eventually(lambda: zombie.said("started 1"))
        zombie.process.send_signal(signal.SIGSTOP)
        successor = WorkerProcess(tmp_path, nats_server.url, 0.1)
        await eventually(lambda: successor.said("stated 2"))
        await eventually(lambda: settled(bus))
        zombie.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(4)
        assert not zombie.said("stated 1")
    finally:
        zombie.kill()
        if successor:
            successor.kill()
