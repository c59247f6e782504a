"""Edge and container packages that are overtaken, deleted or left by a killed packager while they are built."""

import asyncio
import hashlib
import os
import subprocess
import sys

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from contracts import keys
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
)
from contracts.vocabulary import DesiredState
from packager.app import run_app
from packager.wishes import Wishes
from servicekit.objects import ObjectStore
from servicekit.servers import free_ports
from servicekit.testing import eventually

from .deployment_events import again, bytes_of, settled, state, the_fact, told, told_any

pytestmark = pytest.mark.integration
BIG = 48 << 20


@pytest.mark.parametrize("desired", [DesiredState.INACTIVE, DesiredState.DELETED])
async def test_what_was_overtaken_is_not_begun(bus, object_store, settings, telemetry, artefact, exported, desired):
    request = await exported(artefact)
    await state(bus, request, again(request, 2, desired))
    async with run_app(settings, telemetry):
        await eventually(lambda: told_any(bus, DeploymentDeactivatedV1))
        await the_fact(bus, DeploymentDeactivatedV1)
    assert not await told(bus, DeploymentActivatedV1)
    assert not await object_store.exists(keys.edge_package(request.deployment_id))


async def test_a_delete_stops_a_package_that_is_being_built(bus, object_store, settings, telemetry, artefact, exported):
    request = await big(exported, artefact)
    async with run_app(settings, telemetry):
        await state(bus, request)
        await eventually(lambda: _begun(settings))
        await state(bus, again(request, 2, DesiredState.DELETED))
        await eventually(lambda: told_any(bus, DeploymentDeactivatedV1))
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
        await eventually(lambda: told_any(bus, DeploymentDeactivatedV1))
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
        await eventually(lambda: told_any(bus, DeploymentActivatedV1))
        fact = await the_fact(bus)
    assert fact.package.size_bytes > BIG
    assert hashlib.sha256(await bytes_of(object_store, fact)).hexdigest() == fact.package.sha256
