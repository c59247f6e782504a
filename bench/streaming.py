"""A model of two gigabytes through the packager: what its memory grows to for each kind of package."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

import msgspec
from nats.js.errors import NotFoundError
from opentelemetry.sdk.trace import TracerProvider

from bench.figures import table
from bench.large_model import grow
from bench.platform import Platform, Say
from contracts import keys
from contracts.deployment import ContainerConfig, DeploymentConfig, EdgePackageConfig
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentFailedV1,
    DeploymentRequestedV1,
    Event,
    ExportFailedV1,
    ModelExportedV1,
    PackageBuiltV1,
)
from contracts.events.deployment import Access
from contracts.model_package import ModelMetadata
from contracts.subjects import stream_of
from contracts.vocabulary import DeploymentType, DesiredState, TargetPlatform, Tier
from packager.environments import FOLDER
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.servers import free_ports
from servicekit.settings import S3Settings
from servicekit.telemetry import Telemetry
from servicekit.testing import nats_server, s3_server

MODEL_BYTES = 2_000_000_000
"""Protobuf, which ONNX is, ends at 2 GiB."""
LIMIT_MB = 300.0
COPIES = 8
"""Of the model, on the disk at once: attempt, export, three packages, and what is worked on."""
PATIENCE_S, STOP_S = 1800.0, 60.0
MB = 1e6
Fact = TypeVar("Fact", bound=Event)
Failed = TypeVar("Failed", ExportFailedV1, DeploymentFailedV1)


class Peak(NamedTuple):
    """One kind of package: the most that the packager's own process held while it was made, and how long that took."""

    what: str
    package_bytes: int
    megabytes: float
    seconds: float


def measure(platform: Platform, say: Say) -> str:
    """The sample's own package with a model that was made large, through a packager, a bus and a store of their own."""
    with tempfile.TemporaryDirectory(prefix="modelport-streaming-") as kept:
        folder = Path(kept)
        job = platform.export()
        made = platform.client.deployments.create(job.id, "download", "streaming")
        platform.client.deployments.wait(made.id)
        with zipfile.ZipFile(platform.client.deployments.download(made.id, folder / "package.zip")) as package:
            package.extractall(folder / "package")
        peaks = asyncio.run(walk(folder / "package", MODEL_BYTES, folder, say))
    rows = [
        (peak.what, f"{peak.package_bytes / MB:.0f}", f"{peak.megabytes:.0f}", f"{peak.seconds:.0f}") for peak in peaks
    ]
    worst = max(peak.megabytes for peak in peaks)
    return (
        f"## (j) {MODEL_BYTES / 1e9:.0f} GB through the packager\n\n"
        f"Target: the packager's own process never above {LIMIT_MB:.0f} MB; it was {'met' if worst <= LIMIT_MB else 'missed'}. Peaks are the "
        "kernel's (VmHWM), set back before each package; what runs in a sandbox has bounds of its own and is not counted.\n\n"
        + table(("package", "MB", "peak, MB", "seconds"), rows)
    )


async def walk(package: Path, model_bytes: int, folder: Path, say: Say) -> list[Peak]:
    """An unpacked ONNX package with its model grown to `model_bytes`: exported, then deployed as edge and container package.

    Everything that is started is stopped, and lies below `folder`.
    """
    if (free := shutil.disk_usage(folder).free) < COPIES * model_bytes:
        raise RuntimeError(f"{COPIES * model_bytes / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} are free")
    with nats_server(made(folder / "nats")) as nats, s3_server(made(folder / "s3")) as s3:
        async with ObjectStore(s3.settings) as store, connected(nats.url) as bus:
            await store.ensure_bucket()
            exported = await stored(store, package, model_bytes, folder)
            with packager(nats.url, s3.settings, folder) as pid:
                peaks = [await _export(bus, exported, pid, say)]
                built = await said(bus, PackageBuiltV1, ExportFailedV1, exported.job_id)
                for config in (EdgePackageConfig(target_platform=TargetPlatform.LINUX), ContainerConfig()):
                    peaks.append(await _deploy(bus, built, config, pid, say))
                return peaks


async def _export(bus: Bus, exported: ModelExportedV1, pid: int, say: Say) -> Peak:
    began = begin(pid)
    await bus.publish(exported, subject_id=exported.job_id, sequence=1)
    built = await said(bus, PackageBuiltV1, ExportFailedV1, exported.job_id)
    return ended("export package", built.package.size_bytes, pid, began, say)


async def _deploy(bus: Bus, built: PackageBuiltV1, config: DeploymentConfig, pid: int, say: Say) -> Peak:
    request = DeploymentRequestedV1(
        deployment_id=uuid4(),
        export_job_id=built.job_id,
        generation=1,
        desired=DesiredState.ACTIVE,
        deployment_type=DeploymentType(str(type(config).__struct_config__.tag)),
        name="streaming",
        config=config,
        export_format=built.export_format,
        model_version=1,
        model=built.model,
        metadata=built.metadata,
        access=Access(user_id=built.user_id, tier=Tier.FREE, key_digests=()),
    )
    began = begin(pid)
    await bus.publish(request, subject_id=request.deployment_id, sequence=1)
    active = await said(bus, DeploymentActivatedV1, DeploymentFailedV1, request.deployment_id)
    assert active.package
    return ended(str(request.deployment_type).replace("_", " "), active.package.size_bytes, pid, began, say)


def begin(pid: int) -> float:
    """Set the process's highest memory back to what it holds now; the time."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return time.monotonic()


def ended(what: str, package_bytes: int, pid: int, began: float, say: Say) -> Peak:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    peak = Peak(what, package_bytes, int(status["VmHWM"].split()[0]) * 1024 / MB, time.monotonic() - began)
    say(f"{what}: {peak.megabytes:.0f} MB at most, {peak.seconds:.0f} s")
    return peak


async def stored(store: ObjectStore, package: Path, model_bytes: int, folder: Path) -> ModelExportedV1:
    """What a worker would have left and said of the package's model, had it been so large."""
    metadata = msgspec.json.decode((package / keys.METADATA).read_bytes(), type=ModelMetadata)
    metadata = msgspec.structs.replace(metadata, files=(), runtime_wrappers={}, wrapper_proofs={})
    job_id, large = uuid4(), folder / metadata.model_file
    grow(package / metadata.model_file, large, model_bytes)
    log = folder / keys.LOG
    log.write_text("grown\n")
    sources = {metadata.model_file: large, keys.LOG: log}
    sources |= {name: package / name for name in (keys.PARITY_REPORT, keys.GOLDENS)}
    refs = {name: await store.put_file(keys.attempt_file(job_id, 1, name), path) for name, path in sources.items()}
    large.unlink()
    return ModelExportedV1(
        job_id=job_id,
        user_id=uuid4(),
        training_job_id=uuid4(),
        version=1,
        attempt=1,
        export_format=metadata.model_info.export_format,
        proof=metadata.parity.proof,
        model=refs[metadata.model_file],
        parity_report=refs[keys.PARITY_REPORT],
        goldens=refs[keys.GOLDENS],
        log=refs[keys.LOG],
        metadata=metadata,
    )


async def said(bus: Bus, fact: type[Fact], failure: type[Failed], subject_id: UUID) -> Fact:
    """Wait for the fact about a job or a deployment; RuntimeError for its failure."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        failed = await _last(bus, failure)
        if failed is not None and subject_id in _ids(failed):
            raise RuntimeError(f"the packager refuses: {failed.error}")
        told = await _last(bus, fact)
        if told is not None and subject_id in _ids(told):
            return told
        await asyncio.sleep(0.2)
    raise RuntimeError(f"the packager says nothing about {subject_id}")


async def _last(bus: Bus, kind: type[Fact]) -> Fact | None:
    name = str(kind.__struct_config__.tag)
    try:
        message = await bus.jetstream.get_last_msg(stream_of(name), name)
    except NotFoundError:
        return None
    return msgspec.json.decode(message.data or b"", type=kind)


def _ids(fact: Event) -> set[object]:
    return {getattr(fact, name, None) for name in ("job_id", "deployment_id")}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Bus]:
    telemetry = Telemetry("bench", TracerProvider(shutdown_on_exit=False))
    bus = Bus(url, "bench", telemetry)
    await bus.connect()
    try:
        yield bus
    finally:
        await bus.stop()
        telemetry.shutdown()


@contextmanager
def packager(nats_url: str, s3: S3Settings, folder: Path) -> Iterator[int]:
    """The service as a process of its own; its id."""
    told = {
        "NATS_URL": nats_url,
        "S3_ENDPOINT": s3.s3_endpoint,
        "S3_ACCESS_KEY": s3.s3_access_key,
        "S3_SECRET_KEY": s3.s3_secret_key,
        "S3_BUCKET": s3.s3_bucket,
        "PORT": str(free_ports(1)[0]),
        "WORK_DIR": str(folder / "work"),
        "RUNTIMES_DIR": str(Path(sys.prefix).parent / FOLDER),
    }
    environment = {**os.environ, **{f"MODELPORT_{name}": value for name, value in told.items()}}
    with (folder / "packager.log").open("w") as log:
        process = subprocess.Popen((sys.executable, "-m", "packager"), env=environment, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
