"""A real checkpoint through the real worker, its own child in the sandbox, on real servers; cold and warm."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.events import ModelExportedV1
from contracts.export_options import OnnxOptions
from contracts.vocabulary import Proof
from export_worker.app import build_app
from export_worker.settings import load
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry

from .floor import Floor

pytestmark = [pytest.mark.integration, pytest.mark.slow]
MAKE = "import sys; from ultralytics import YOLO; YOLO('yolo11n.yaml').save(sys.argv[1])"


@pytest.mark.parametrize("is_warm", [False, True])
async def test_a_detector_is_exported_and_verified(
    floor: Floor, telemetry: Telemetry, tmp_path: Path, is_warm: bool
) -> None:
    checkpoint = tmp_path / "model.pt"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", MAKE, str(checkpoint)], check=True)
    key = "trained/model.pt"
    await floor.store.put_file(key, checkpoint)
    variables = {
        "MODELPORT_STEP_MEMORY_MIB": "4096",
        "MODELPORT_PORT": str(free_ports(1)[0]),
        "MODELPORT_WARM_RUNS": str(is_warm).lower(),
        "MODELPORT_WARM_DELAY_S": "0.1",
    }
    environ = {**floor.environ, **variables}
    app = build_app(load(environ), telemetry=telemetry, environ=environ)
    await app.start()
    try:
        if is_warm:
            await floor.until(lambda: app.warm_count == 1, seconds=90)
        job = await floor.request(
            checkpoint_path=f"s3://{floor.store.bucket}/{key}",
            checkpoint_max_bytes=1 << 30,
            options=OnnxOptions(image_size=(320, 320)),
        )
        fact = await floor.end(job.job_id, seconds=90)
    finally:
        await app.stop()
    assert isinstance(fact, ModelExportedV1), fact
    assert fact.proof is Proof.VERIFIED
    assert fact.model.size_bytes > 1 << 20
    assert fact.metadata.parity.non_square_inputs >= 16
