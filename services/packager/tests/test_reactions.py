"""The whole service against a real bus and a real store."""

import asyncio
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec
import numpy as np
import onnx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts import keys
from contracts.envelope import event_id
from contracts.events import ExportCancelledV1, ExportFailedV1, ExportProgressedV1, ModelExportedV1, PackageBuiltV1
from contracts.model_package import ModelMetadata
from contracts.subjects import base_subject
from packager.app import DURABLE, run_app
from servicekit.telemetry import Telemetry
from servicekit.testing import eventually

pytestmark = pytest.mark.integration

DESIGN_TREE = {
    "model.onnx",
    "metadata.json",
    "README.md",
    "NOTICE.txt",
    "parity_report.json",
    "golden_vectors.safetensors",
    "labels.txt",
    "runtimes/python/model_wrapper.py",
    "runtimes/python/requirements.txt",
    "runtimes/python/example.py",
    "runtimes/python/verify.py",
    "runtimes/python/processing/pipeline.py",
}


BIG = 48 << 20


class Told:
    """Every fact on the bus, and the ids of those asked for."""

    def __init__(self, bus) -> None:
        self._bus = bus
        self.ids: list[str] = []

    async def of(self, kind):
        found = []
        info = await self._bus.jetstream.stream_info("EXPORT")
        for sequence in range(info.state.first_seq, info.state.last_seq + 1):
            message = await self._bus.jetstream.get_msg("EXPORT", seq=sequence)
            if message.subject == base_subject(kind):
                found.append(msgspec.json.decode(message.data, type=kind))
                self.ids.append(message.headers["ce-id"])
        return found


@pytest.fixture
def told(bus):
    return Told(bus)


async def publish(bus, event, **options):
    await bus.publish(event, subject_id=event.job_id, **({"sequence": event.attempt} | options))


async def settled(bus):
    info = await bus.jetstream.consumer_info("EXPORT", DURABLE)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_an_exported_model_becomes_a_package(bus, object_store, settings, telemetry, artefact, told):
    """In a folder of its own: what a killed packager left is removed at the start, and at the end nothing is left."""
    job_id = uuid4()
    killed = Path(settings.work_dir) / "packager-0"
    killed.mkdir(parents=True)
    (killed / "lock").touch()
    event = await artefact.store(object_store, job_id)
    await publish(bus, event)
    async with run_app(settings, telemetry) as health:
        await eventually(lambda: _any(told, PackageBuiltV1))
        async with httpx.AsyncClient() as client:
            ready = await client.get(f"http://127.0.0.1:{health.port}/readyz")
        assert ready.status_code == 200
        await eventually(lambda: settled(bus))
    (fact,) = await told.of(PackageBuiltV1)
    assert (fact.job_id, fact.attempt, fact.proof) == (job_id, 1, event.proof)
    assert set(told.ids) == {event_id(PackageBuiltV1, job_id, 1)}
    assert fact.package.key == f"exports/{job_id}/export-package.zip"
    assert fact.model.key == f"exports/{job_id}/model.onnx"
    assert fact.model.sha256 == event.model.sha256
    (progress,) = await told.of(ExportProgressedV1)
    assert (progress.stage, progress.attempt) == ("package", 1)

    stored = await object_store.get_bytes(fact.package.key, 1 << 26)
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        names = set(archive.namelist())
        assert names >= DESIGN_TREE
        assert msgspec.json.decode(archive.read("metadata.json"), type=ModelMetadata) == fact.metadata
        root = keys.export_root(job_id)
        loose = {info.key.removeprefix(root) for info in await object_store.list(root)}
        sources = {name for name in names if name.startswith("runtimes/")} - set(
            fact.metadata.runtime_wrappers.values()
        )
        opened = names - sources
        assert {name for name in loose if not name.startswith("attempts/")} == opened | {keys.PACKAGE, keys.LOG}
        for name in opened:
            assert await object_store.get_bytes(root + name, 1 << 26) == archive.read(name)
    assert not list(Path(settings.work_dir).iterdir())


async def _any(told, kind):
    return bool(await told.of(kind))


async def test_a_repetition_gives_the_same_bytes_and_the_same_event(
    bus, object_store, settings, telemetry, artefact, told
):
    job_id = uuid4()
    event = await artefact.store(object_store, job_id)
    packages = []
    for number in range(2):
        # the second time the lease bucket has forgotten the job, as after a crash between publishing and acknowledging
        await publish(bus, event, event_id=f"{job_id}/{number}")
        async with run_app(settings, telemetry):
            await eventually(lambda: settled(bus))
        packages.append(await object_store.get_bytes(keys.export_file(job_id, keys.PACKAGE), 1 << 26))
        await bus.jetstream.delete_key_value("leases")
    assert packages[0] == packages[1]
    assert len(await told.of(PackageBuiltV1)) == 1, "the bus keeps one fact of the same id"


async def test_of_two_attempts_one_is_packaged_and_the_fact_describes_the_tree(
    bus, object_store, settings, telemetry, make, told
):
    """A worker that dies right after its fact makes a second attempt export once more, with other bytes."""
    job_id = uuid4()
    for attempt, names in enumerate((("cat", "dog", "owl"), ("fox", "hen", "bee")), start=1):
        await publish(bus, await make(names=names).store(object_store, job_id, attempt))
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(told, PackageBuiltV1))
        await eventually(lambda: settled(bus))
    (fact,) = await told.of(PackageBuiltV1)
    stored = await object_store.get_bytes(fact.package.key, 1 << 26)
    assert hashlib.sha256(stored).hexdigest() == fact.package.sha256
    loose = await object_store.get_bytes(keys.export_file(job_id, keys.METADATA), 1 << 26)
    assert msgspec.json.decode(loose, type=ModelMetadata) == fact.metadata


async def test_other_bytes_than_announced_fail_the_job(bus, object_store, settings, telemetry, artefact, told):
    job_id = uuid4()
    event = await artefact.store(object_store, job_id)
    await object_store.put_bytes(event.model.key, b"x" * event.model.size_bytes)
    await publish(bus, event)
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(told, ExportFailedV1))
        await eventually(lambda: settled(bus))
    (fact,) = await told.of(ExportFailedV1)
    assert (fact.job_id, fact.attempt, fact.error.stage, fact.error.code) == (job_id, 1, "package", "packaging_failed")
    assert fact.log == event.log
    assert not await told.of(PackageBuiltV1)
    assert not await object_store.exists(keys.export_file(job_id, keys.PACKAGE))


@pytest.mark.parametrize("change", ["missing", "too_large", "not_executable"])
async def test_what_cannot_be_packaged_fails_with_a_reason(
    change, bus, object_store, settings, telemetry, artefact, told
):
    replace = msgspec.structs.replace
    event = await artefact.store(object_store, uuid4())
    if change == "missing":
        await object_store.delete(event.goldens.key)
    elif change == "too_large":
        settings = replace(settings, model_max_bytes=10)
    else:
        event = replace(event, metadata=replace(event.metadata, model_file="model.engine"))
    await publish(bus, event)
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(told, ExportFailedV1))
    (fact,) = await told.of(ExportFailedV1)
    expected = {
        "missing": "golden_vectors.safetensors",
        "too_large": "10 are allowed",
        "not_executable": "model.engine",
    }
    assert expected[change] in fact.error.message
    assert fact.error.hint


async def test_a_cancelled_job_is_dropped_and_the_next_one_is_built(
    bus, object_store, settings, telemetry, artefact, told
):
    cancelled, job_id = uuid4(), uuid4()
    fact = ExportCancelledV1(job_id=cancelled)
    await bus.publish(fact, subject_id=cancelled, sequence=1)
    for job in (cancelled, job_id):
        await publish(bus, await artefact.store(object_store, job))
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(told, PackageBuiltV1))
        await eventually(lambda: settled(bus))
    assert [built.job_id for built in await told.of(PackageBuiltV1)] == [job_id]
    assert not await object_store.exists(keys.export_file(cancelled, keys.PACKAGE))


async def test_a_job_survives_a_stop_of_the_packager(bus, object_store, settings, telemetry, artefact, told):
    events = [await artefact.store(object_store, uuid4()) for _ in range(4)]
    for event in events:
        await publish(bus, event)
    async with run_app(settings, telemetry):
        await asyncio.sleep(0.05)
    async with run_app(settings, telemetry):
        await eventually(lambda: settled(bus))
        await eventually(lambda: _all(told, events))
    assert {fact.job_id for fact in await told.of(PackageBuiltV1)} == {event.job_id for event in events}


async def _all(told, events: list[ModelExportedV1]) -> bool:
    return len(await told.of(PackageBuiltV1)) == len(events)


async def big_job(object_store, artefact, job_id):
    """A job whose model takes a while to move, for a tensor that nothing in it uses."""
    model = onnx.load(artefact.files["model.onnx"])
    ballast = np.frombuffer(os.urandom(BIG), np.uint8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(ballast, "ballast"))
    onnx.save(model, artefact.files["model.onnx"])
    return await artefact.store(object_store, job_id)


async def test_a_packager_killed_in_the_middle_loses_nothing(bus, object_store, settings, telemetry, artefact, told):
    job_id = uuid4()
    settings = msgspec.structs.replace(settings, ack_wait_s=2.0)
    await publish(bus, await big_job(object_store, artefact, job_id))
    env = {f"MODELPORT_{name.upper()}": str(value) for name, value in msgspec.structs.asdict(settings).items() if value}
    process = subprocess.Popen([sys.executable, "-m", "packager"], env={**os.environ, **env})
    try:
        await eventually(lambda: _any(told, ExportProgressedV1))
    finally:
        process.kill()
        process.wait()
    assert not await told.of(PackageBuiltV1)
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(told, PackageBuiltV1))
        await eventually(lambda: settled(bus))
    (fact,) = await told.of(PackageBuiltV1)
    assert fact.model.size_bytes > BIG
    assert await object_store.exists(fact.package.key)


async def test_a_cancel_stops_a_running_job(bus, object_store, settings, telemetry, artefact, told):
    job_id = uuid4()
    await publish(bus, await big_job(object_store, artefact, job_id))
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(told, ExportProgressedV1))
        await bus.publish(ExportCancelledV1(job_id=job_id), subject_id=job_id, sequence=1)
        await eventually(lambda: settled(bus))
    assert not await told.of(PackageBuiltV1)
    assert not await told.of(ExportFailedV1)
    assert not await object_store.exists(keys.export_file(job_id, keys.PACKAGE))


async def test_each_step_has_its_span(bus, object_store, settings, artefact, told):
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    await publish(bus, await artefact.store(object_store, uuid4()))
    async with run_app(settings, Telemetry("packager", provider)):
        await eventually(lambda: _any(told, PackageBuiltV1))
        await eventually(lambda: settled(bus))
    found = {span.name: span for span in spans.get_finished_spans()}
    steps = ("fetch artefacts", "assemble package", "upload package", "publish PackageBuiltV1")
    parent = found[f"process {DURABLE}"]
    for name in steps:
        assert found[name].parent.span_id == parent.context.span_id
