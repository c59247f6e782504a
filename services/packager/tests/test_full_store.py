"""A full object store: no package is ever half visible, jobs wait, and go on by themselves when the store has room."""

import os
import subprocess
from uuid import uuid4

import pytest

from contracts import keys
from contracts.errors import Transient
from contracts.events import ExportFailedV1, PackageBuiltV1
from packager.app import run_app
from packager.settings import Settings
from servicekit import testing
from servicekit.objects import ObjectStore
from servicekit.servers import free_ports
from servicekit.testing import eventually

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(600)]

SMALL, LARGE = 24 << 20, 512 << 20
PIECES = (1 << 20, 1 << 16, 1 << 12, 1 << 8)


@pytest.fixture
def small_store(tmp_path):
    """A SeaweedFS on a file system of 24 MiB, and what gives it more."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "s3"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder], check=True)
    try:
        with testing.s3_server(tmp_path) as server:
            yield server, folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def settings(nats_server, small_store, tmp_path):
    s3 = small_store[0].settings
    return Settings(
        nats_url=nats_server.url,
        s3_endpoint=s3.s3_endpoint,
        s3_access_key=s3.s3_access_key,
        s3_secret_key=s3.s3_secret_key,
        s3_bucket=s3.s3_bucket,
        port=free_ports(1)[0],
        unverified_packages="accept",
        work_dir=str(tmp_path / "work"),
    )


async def fill(store):
    """Large pieces, then smaller ones, until the store refuses each size; the kinds of refusal."""
    refusals = set()
    for size in PIECES:
        while True:
            try:
                await store.put_bytes(f"filler/{uuid4()}", os.urandom(size))
            except Transient as error:
                refusals.add(error.code)
                break
    return refusals


async def seen(bus, kind):
    state = (await bus.jetstream.stream_info("EXPORT", subjects_filter=kind.__struct_config__.tag)).state
    return sum((state.subjects or {}).values())


async def test_a_package_waits_for_a_store_with_room_and_is_never_half(
    bus, settings, small_store, telemetry, artefact, figure, caplog
):
    folder = small_store[1]
    job_id = uuid4()
    async with ObjectStore(small_store[0].settings) as store:
        await store.ensure_bucket()
        event = await artefact.store(store, job_id)
        refusals = await fill(store)
        async with run_app(settings, telemetry):
            await bus.publish(event, subject_id=job_id, sequence=1)
            await eventually(lambda: "attempt 1 failed: object storage answered" in caplog.text, 120)
            found = {info.key for info in await store.list(keys.export_root(job_id))}
            half = keys.export_file(job_id, keys.PACKAGE) in found
            ended = await seen(bus, ExportFailedV1) + await seen(bus, PackageBuiltV1)
            subprocess.run(["mount", "-o", f"remount,size={LARGE}", folder], check=True)
            # a LevelDB of SeaweedFS that has met a full disk refuses every write until it is opened anew
            small_store[0].restart()

            async def built():
                return await seen(bus, PackageBuiltV1) == 1

            await eventually(built, 300)
        whole = await store.exists(keys.export_file(job_id, keys.PACKAGE))
    figure("a full object store: packages visible that are not whole", trials=1, measured=int(half), promised=0)
    figure("a full object store: jobs given up before there was room", trials=1, measured=ended, promised=0)
    assert refusals == {"unavailable"}
    assert (half, ended, whole) == (False, 0, True)
