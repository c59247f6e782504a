"""Edge and container packages: the whole service against a real bus and a real store."""

import asyncio
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from contracts import keys
from contracts.deployment import ContainerConfig, EdgePackageConfig
from contracts.envelope import event_id
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentRequestedV1,
)
from contracts.events.deployment import Access
from contracts.model_package import ModelMetadata
from contracts.subjects import base_subject
from contracts.vocabulary import DeploymentStage, DeploymentType, DesiredState, TargetPlatform, Tier
from packager import export_package
from packager.app import DEPLOYMENTS, run_app
from packager.provenance import MADE_HERE
from packager.wishes import Wishes
from servicekit.objects import ObjectStore
from servicekit.servers import free_ports
from servicekit.testing import eventually

pytestmark = pytest.mark.integration
LINUX = EdgePackageConfig(target_platform=TargetPlatform.LINUX)
BIG = 48 << 20


@pytest.fixture
def exported(object_store, assemble):
    """An export whose package is stored; the request for one of its deployments."""

    async def request(artefact, config=LINUX):
        job_id, package = uuid4(), await assemble(artefact)
        stored = await export_package.upload(object_store, job_id, package, _nothing)
        return DeploymentRequestedV1(
            deployment_id=uuid4(),
            export_job_id=job_id,
            generation=1,
            desired=DesiredState.ACTIVE,
            deployment_type=DeploymentType(config.__struct_config__.tag),
            name="field",
            config=config,
            export_format=artefact.metadata.model_info.export_format,
            model_version=3,
            model=stored.model,
            metadata=stored.metadata,
            access=Access(user_id=uuid4(), tier=Tier.FREE, key_digests=()),
        )

    return request


async def _nothing():
    pass


def again(request, generation, desired=DesiredState.ACTIVE):
    return msgspec.structs.replace(request, generation=generation, desired=desired)


async def state(bus, *requests, publication=1):
    for request in requests:
        sequence = f"{request.generation}.{publication}"
        await bus.publish(request, subject_id=request.deployment_id, sequence=sequence)


async def told(bus, kind):
    """Every fact of a kind on the bus with the id of its event."""
    found = []
    info = await bus.jetstream.stream_info("DEPLOYMENT")
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await bus.jetstream.get_msg("DEPLOYMENT", seq=sequence)
        if message.subject == base_subject(kind):
            found.append((msgspec.json.decode(message.data, type=kind), message.headers["ce-id"]))
    return found


async def settled(bus):
    info = await bus.jetstream.consumer_info("DEPLOYMENT", DEPLOYMENTS)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def the_fact(bus, kind=DeploymentActivatedV1):
    await eventually(lambda: settled(bus))
    ((fact, _),) = await told(bus, kind)
    return fact


def bytes_of(store, fact):
    return store.get_bytes(fact.package.key, 1 << 28)


@pytest.mark.parametrize("config", [LINUX, ContainerConfig(image_name="shapes")], ids=["edge", "container"])
async def test_a_wish_becomes_a_package_whose_every_file_is_listed(
    bus, object_store, settings, telemetry, artefact, exported, config
):
    request = await exported(artefact, config)
    await state(bus, request)
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(bus, DeploymentActivatedV1))
        fact = await the_fact(bus)
    assert (fact.deployment_id, fact.generation, fact.model_version) == (request.deployment_id, 1, 3)
    assert fact.package.key == keys.deployed_package(request.deployment_type, request.deployment_id)
    stored = await bytes_of(object_store, fact)
    assert (hashlib.sha256(stored).hexdigest(), len(stored)) == (fact.package.sha256, fact.package.size_bytes)
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        names = set(archive.namelist())
        described = msgspec.json.decode(archive.read(keys.METADATA), type=ModelMetadata)
        assert {file.path for file in described.files} == names - {keys.METADATA} - MADE_HERE
        for file in described.files:
            assert hashlib.sha256(archive.read(file.path)).hexdigest() == file.sha256
        assert archive.read("model.onnx") == artefact.files["model.onnx"].read_bytes()
    assert not list(Path(settings.work_dir).iterdir())
    progress = [fact for fact, _ in await told(bus, DeploymentProgressedV1)]
    assert [fact.stage for fact in progress] == list(DeploymentStage)
    assert [fact.percent for fact in progress] == sorted({fact.percent for fact in progress})


async def _any(bus, kind):
    return bool(await told(bus, kind))


async def test_a_repetition_gives_the_same_bytes_and_one_answer(
    bus, object_store, settings, telemetry, artefact, exported
):
    """After a crash between stating and acknowledging, and where the gateway states its wish once more."""
    request = await exported(artefact)
    packages = []
    for number in range(2):
        await bus.publish(request, subject_id=request.deployment_id, sequence="1.1", event_id=f"{number}")
        async with run_app(settings, telemetry):
            await eventually(lambda: settled(bus))
        key = keys.edge_package(request.deployment_id)
        packages.append(await object_store.get_bytes(key, 1 << 28))
        await bus.jetstream.delete_key_value("leases")
    assert packages[0] == packages[1]
    ids = [event for _, event in await told(bus, DeploymentActivatedV1)]
    assert ids == [event_id(DeploymentActivatedV1, request.deployment_id, f"1/{number}") for number in range(2)]


async def test_the_life_of_a_package(bus, object_store, settings, telemetry, artefact, exported):
    request = await exported(artefact)
    key = keys.edge_package(request.deployment_id)
    await state(bus, request)
    await state(bus, request, publication=2)  # built once all the same
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(bus, DeploymentActivatedV1))
        await state(bus, again(request, 2, DesiredState.INACTIVE))
        await eventually(lambda: _any(bus, DeploymentDeactivatedV1))
        assert await object_store.exists(key), "reactivated at once, whatever became of the export"
        await state(bus, again(request, 3))
        await eventually(lambda: _count(bus, DeploymentActivatedV1, 2))
        await state(bus, again(request, 4, DesiredState.DELETED))
        await eventually(lambda: _count(bus, DeploymentDeactivatedV1, 2))
        await eventually(lambda: settled(bus))
    assert not await object_store.exists(key)
    assert [fact.deleted for fact, _ in await told(bus, DeploymentDeactivatedV1)] == [False, True]
    assert [fact.generation for fact, _ in await told(bus, DeploymentActivatedV1)] == [1, 3]


async def _count(bus, kind, count):
    return len(await told(bus, kind)) == count


@pytest.mark.parametrize("desired", [DesiredState.INACTIVE, DesiredState.DELETED])
async def test_what_was_overtaken_is_not_begun(bus, object_store, settings, telemetry, artefact, exported, desired):
    request = await exported(artefact)
    await state(bus, request, again(request, 2, desired))
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(bus, DeploymentDeactivatedV1))
        await the_fact(bus, DeploymentDeactivatedV1)
    assert not await told(bus, DeploymentActivatedV1)
    assert not await object_store.exists(keys.edge_package(request.deployment_id))


async def test_a_delete_stops_a_package_that_is_being_built(bus, object_store, settings, telemetry, artefact, exported):
    request = await big(exported, artefact)
    async with run_app(settings, telemetry):
        await state(bus, request)
        await eventually(lambda: _begun(settings))
        await state(bus, again(request, 2, DesiredState.DELETED))
        await eventually(lambda: _any(bus, DeploymentDeactivatedV1))
        await eventually(lambda: settled(bus))
    assert not await object_store.exists(keys.edge_package(request.deployment_id))


async def test_a_delete_that_another_packager_answered_first_leaves_nothing(
    bus, object_store, settings, telemetry, artefact, exported, monkeypatch
):
    """It removes a package that is not there yet, and the one that stores it hears of the delete only afterwards."""
    request, stored = await exported(artefact), asyncio.Event()
    put_file, on_requested = ObjectStore.put_file, Wishes.on_requested

    async def put_late(store, *arguments):
        await state(bus, again(request, 2, DesiredState.DELETED))
        await eventually(lambda: _any(bus, DeploymentDeactivatedV1))
        found = await put_file(store, *arguments)
        stored.set()
        return found

    async def hear_late(wishes, *arguments):
        await stored.wait()
        await on_requested(wishes, *arguments)

    monkeypatch.setattr(ObjectStore, "put_file", put_late)
    monkeypatch.setattr(Wishes, "on_requested", hear_late)
    one, other = (
        msgspec.structs.replace(settings, port=port, work_dir=f"{settings.work_dir}/{port}", slots=1)
        for port in free_ports(2)
    )
    async with run_app(one, telemetry), run_app(other, telemetry):
        await state(bus, request)
        await eventually(stored.is_set)
        await eventually(lambda: settled(bus))
    assert not await object_store.exists(keys.edge_package(request.deployment_id))
    assert not await told(bus, DeploymentActivatedV1)


async def big(exported, artefact):
    """An export whose files take a while to move."""
    model = onnx.load(artefact.files["model.onnx"])
    ballast = np.frombuffer(os.urandom(BIG), np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(ballast, "ballast"))
    onnx.save(model, artefact.files["model.onnx"])
    return await exported(artefact)


async def _begun(settings):
    return any(files for folder, _, files in os.walk(settings.work_dir) if folder.endswith("export"))


async def test_a_packager_killed_in_the_middle_loses_nothing(
    bus, object_store, settings, telemetry, artefact, exported
):
    request = await big(exported, artefact)
    settings = msgspec.structs.replace(settings, ack_wait_s=2.0)
    await state(bus, request)
    env = {f"MODELPORT_{name.upper()}": str(value) for name, value in msgspec.structs.asdict(settings).items() if value}
    process = subprocess.Popen([sys.executable, "-m", "packager"], env={**os.environ, **env})
    try:
        await eventually(lambda: _begun(settings))
    finally:
        process.kill()
        process.wait()
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(bus, DeploymentActivatedV1))
        fact = await the_fact(bus)
    assert fact.package.size_bytes > BIG
    assert hashlib.sha256(await bytes_of(object_store, fact)).hexdigest() == fact.package.sha256


async def test_exports_that_are_not_what_they_stated_fail_with_a_reason(
    bus, object_store, settings, telemetry, artefact, exported
):
    replace = msgspec.structs.replace
    requests = {name: await exported(artefact) for name in REASONS}
    roots = {name: keys.export_root(request.export_job_id) for name, request in requests.items()}
    await object_store.delete(roots["missing"] + keys.PACKAGE)
    package = roots["other bytes"] + keys.PACKAGE
    await object_store.put_bytes(package, swapped(await object_store.get_bytes(package, 1 << 26), "model.onnx"))
    package = roots["broken"] + keys.PACKAGE
    await object_store.put_bytes(package, (await object_store.get_bytes(package, 1 << 26))[:-100])
    named = replace(requests["other metadata"].metadata, model_file="other.onnx")
    requests["other metadata"] = replace(requests["other metadata"], metadata=named)
    for name, change in (("too large", lambda file: replace(file, size_bytes=settings.model_max_bytes + 1)),):
        metadata = requests[name].metadata
        requests[name] = replace(requests[name], metadata=replace(metadata, files=tuple(map(change, metadata.files))))
    requests["empty"] = replace(requests["empty"], metadata=replace(requests["empty"].metadata, files=()))
    await state(bus, *requests.values())
    async with run_app(settings, telemetry):
        await eventually(lambda: _count(bus, DeploymentFailedV1, len(requests)))
    errors = {fact.deployment_id: fact.error for fact, _ in await told(bus, DeploymentFailedV1)}
    for name, request in requests.items():
        error = errors[request.deployment_id]
        assert (error.code, error.stage, bool(error.hint)) == ("packaging_failed", "package", True)
        assert REASONS[name] in error.message
        assert not await object_store.exists(keys.edge_package(request.deployment_id))


def swapped(package, name):
    """The same zip but for one byte of a file, with a checksum that fits."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry, data[:-1] + b"!" if entry.filename == name else data)
    return changed.getvalue()


REASONS = {
    "missing": "export-package.zip",
    "other bytes": "SHA-256",
    "broken": "cannot be read",
    "other metadata": "metadata.json",
    "too large": "are allowed",
    "empty": "lists no files",
}


async def test_deployments_of_other_types_are_not_its_business(bus, settings, telemetry, artefact, exported):
    request = await exported(artefact)
    endpoint = msgspec.structs.replace(request, deployment_type=DeploymentType.PLATFORM_ENDPOINT)
    await state(bus, endpoint)
    await state(bus, msgspec.structs.replace(request, deployment_id=uuid4()))
    async with run_app(settings, telemetry):
        await eventually(lambda: _any(bus, DeploymentActivatedV1))
        fact = await the_fact(bus)
    assert fact.deployment_id != endpoint.deployment_id
