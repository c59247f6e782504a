"""The worker as a service: announced, healthy, warm, and honest about a missing sandbox."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from nats.js.errors import NoKeysError

from contracts.capabilities import WorkerAnnouncement
from contracts.events import (
    ModelExportedV1,
)
from contracts.subjects import WORKERS
from contracts.vocabulary import ExportFormat, Framework
from servicekit.bus import Bus
from servicekit.sandbox import selftest, watch
from servicekit.sandbox.bubblewrap import SandboxState
from servicekit.servers import free_ports

from .floor import Floor, command_line

pytestmark = pytest.mark.integration


async def test_a_barrier_that_does_not_hold_is_told_and_the_sandbox_counts_for_nothing(
    floor: Floor, tmp_path: Path
) -> None:
    state = SandboxState(available=False, description="bubblewrap, but it does not hold", barriers={"network": "open"})
    async with floor.worker("export", tmp_path, sandbox=state) as app:
        told = await announced(floor.bus)
        assert told.barriers == {"network": "open"}
        assert not told.frameworks[Framework.ULTRALYTICS].available
        status, body = await get(app.health_port, "/readyz")
        assert status == 200
        assert "does not hold; takes only safetensors" in body


async def test_a_living_worker_is_announced_and_a_stopped_one_is_not(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("export", tmp_path, MODELPORT_SLOTS="3") as app:
        told = await announced(floor.bus)
        assert (told.slots, told.busy) == (3, 0)
        assert told.formats[ExportFormat.ONNX].available
        assert "not installed on this worker: litert_torch" in told.formats[ExportFormat.TFLITE].reason
        assert "rtx" in told.formats[ExportFormat.TENSORRT].flavors
        status, body = await get(app.health_port, "/readyz")
        assert status == 200
        assert all(name in body for name in selftest.NAMES)
        assert told.barriers == dict.fromkeys(selftest.NAMES, "")
    with pytest.raises(NoKeysError):
        await (await floor.bus.kv(WORKERS)).keys()


async def test_a_warm_run_serves_one_job_and_a_new_one_takes_its_place(floor: Floor, tmp_path: Path) -> None:
    warm = {"MODELPORT_WARM_RUNS": "true", "MODELPORT_WARM_DELAY_S": "0.05"}
    async with floor.worker("export", tmp_path, None, **warm):
        seen: set[int] = set()
        for _ in range(2):
            await floor.until(lambda: len(warm_runs() - seen) == 1)
            (pid,) = warm_runs() - seen
            await asyncio.sleep(1.0)
            seen.add(pid)
            fact = await floor.end((await floor.request()).job_id)
            assert isinstance(fact, ModelExportedV1)
            await floor.until_gone(pid)
    await floor.until_gone(*warm_runs())


def warm_runs() -> set[int]:
    return {pid for pid in watch.tree(os.getpid()) if b"fake_run.py\0export\0--warm" in command_line(pid)}


async def announced(bus: Bus) -> WorkerAnnouncement:
    bucket = await bus.kv(WORKERS, ttl=45, memory=True)
    (key,) = await bucket.keys()
    return msgspec.json.decode((await bucket.get(key)).value or b"", type=WorkerAnnouncement)


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split()[1]), answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_service_leaves_no_process_behind(floor: Floor, tmp_path: Path, number: signal.Signals) -> None:
    environ = {**floor.environ, "MODELPORT_PORT": str(free_ports(1)[0]), "MODELPORT_WARM_RUNS": "true"}
    environ["MODELPORT_WARM_DELAY_S"] = "0.01"
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "export_worker", env=environ)
    await floor.until(lambda: any(b"--warm" in command_line(pid) for pid in watch.tree(worker.pid)))
    await asyncio.sleep(0.5)
    pids = watch.tree(worker.pid)
    assert (await get(int(environ["MODELPORT_PORT"]), "/healthz"))[0] == 200
    os.kill(worker.pid, number)
    assert await worker.wait() == (0 if number == signal.SIGTERM else -9)
    await floor.until_gone(*pids)
    homes = list((tmp_path / "work").iterdir())
    assert len(homes) == (0 if number == signal.SIGTERM else 1)


async def test_wrong_settings_end_the_service_with_a_sentence(floor: Floor) -> None:
    environ = {**floor.environ, "MODELPORT_SLOTS": "many", "MODELPORT_PORT": "1"}
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "export_worker", env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, told = await worker.communicate()
    assert worker.returncode == 1
    assert b"MODELPORT_SLOTS" in told
    assert b"Traceback" not in told
