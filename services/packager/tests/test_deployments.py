"""Edge and container packages: the whole service against a real bus and a real store."""

import hashlib
import io
import zipfile
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from contracts import keys
from contracts.deployment import ContainerConfig, EdgePackageConfig
from contracts.envelope import event_id
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
)
from contracts.model_package import ModelMetadata
from contracts.vocabulary import DeploymentStage, DeploymentType, DesiredState, TargetPlatform
from packager.app import run_app
from packager.provenance import MADE_HERE
from servicekit.testing import eventually

from .deployment_events import again, bytes_of, settled, state, the_fact, told, told_any, told_count

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "config",
    [EdgePackageConfig(target_platform=TargetPlatform.LINUX), ContainerConfig(image_name="shapes")],
    ids=["edge", "container"],
)
async def test_a_wish_becomes_a_package_whose_every_file_is_listed(
    bus, object_store, settings, telemetry, artefact, exported, config
):
    request = await exported(artefact, config)
    await state(bus, request)
    async with run_app(settings, telemetry):
        await eventually(lambda: told_any(bus, DeploymentActivatedV1))
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
        await eventually(lambda: told_any(bus, DeploymentActivatedV1))
        await state(bus, again(request, 2, DesiredState.INACTIVE))
        await eventually(lambda: told_any(bus, DeploymentDeactivatedV1))
        assert await object_store.exists(key), "reactivated at once, whatever became of the export"
        await state(bus, again(request, 3))
        await eventually(lambda: told_count(bus, DeploymentActivatedV1, 2))
        await state(bus, again(request, 4, DesiredState.DELETED))
        await eventually(lambda: told_count(bus, DeploymentDeactivatedV1, 2))
        await eventually(lambda: settled(bus))
    assert not await object_store.exists(key)
    assert [fact.deleted for fact, _ in await told(bus, DeploymentDeactivatedV1)] == [False, True]
    assert [fact.generation for fact, _ in await told(bus, DeploymentActivatedV1)] == [1, 3]


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
        await eventually(lambda: told_count(bus, DeploymentFailedV1, len(requests)))
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
        await eventually(lambda: told_any(bus, DeploymentActivatedV1))
        fact = await the_fact(bus)
    assert fact.deployment_id != endpoint.deployment_id
