"""The worker's settings and the limits that follow from them."""

import pytest

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat, Framework
from export_worker.settings import WorkerSettings, load, load_run
from servicekit.sandbox.bubblewrap import MIB

NEEDED = {
    "MODELPORT_NATS_URL": "nats://127.0.0.1:4222",
    "MODELPORT_S3_ENDPOINT": "http://127.0.0.1:8333",
    "MODELPORT_S3_ACCESS_KEY": "a",
    "MODELPORT_S3_SECRET_KEY": "s",
    "MODELPORT_WORK_DIR": "/nowhere",
}


def test_a_run_needs_no_port_and_the_service_does() -> None:
    assert load_run(NEEDED).worker.work_dir == "/nowhere"
    with pytest.raises(Permanent, match="MODELPORT_PORT"):
        load(NEEDED)


def test_lists_are_comma_separated() -> None:
    variables = {"MODELPORT_FORMATS": "onnx", "MODELPORT_WARM_FRAMEWORKS": "timm, huggingface"}
    worker = load_run({**NEEDED, **variables}).worker
    assert worker.formats == (ExportFormat.ONNX,)
    assert worker.warm_frameworks == (Framework.TIMM, Framework.HUGGINGFACE)


def test_a_job_gets_its_own_time_within_the_workers_bound() -> None:
    worker = WorkerSettings(work_dir="/nowhere", step_timeout_s=100, step_memory_mib=512)
    assert worker.limits(30).wall_s == 30
    assert worker.limits(3000).wall_s == 100
    assert worker.limits(30).memory_bytes == 512 * MIB


def test_every_worker_has_a_name() -> None:
    assert WorkerSettings(work_dir="/nowhere").id
    assert WorkerSettings(work_dir="/nowhere", worker_id="w7").id == "w7"
