"""A full work folder: nothing half is ever visible, the job waits, and goes on by itself when there is room."""

import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from contracts import keys
from contracts.events import ExportFailedV1, PackageBuiltV1
from packager.app import run_app
from packager.settings import Settings
from servicekit.servers import free_ports
from servicekit.testing import eventually

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def settings(nats_server, s3_server, small_disk):
    s3 = s3_server.settings
    return Settings(
        nats_url=nats_server.url,
        s3_endpoint=s3.s3_endpoint,
        s3_access_key=s3.s3_access_key,
        s3_secret_key=s3.s3_secret_key,
        s3_bucket=s3.s3_bucket,
        port=free_ports(1)[0],
        unverified_packages="accept",
        work_dir=str(small_disk),
    )


async def seen(bus, kind):
    state = (await bus.jetstream.stream_info("EXPORT", subjects_filter=kind.__struct_config__.tag)).state
    return sum((state.subjects or {}).values())


async def test_a_package_waits_for_room_and_is_never_half(
    bus, object_store, settings, small_disk, telemetry, artefact, figure, caplog
):
    job_id = uuid4()
    event = await artefact.store(object_store, job_id)
    filler = Path(small_disk) / "somebody else's"
    with filler.open("wb") as file:
        file.write(bytes(1 << 14))
    async with run_app(settings, telemetry):
        await bus.publish(event, subject_id=job_id, sequence=1)

        async def refused():
            return "No space left" in caplog.text or "no space left" in caplog.text

        await eventually(refused)
        root = keys.export_root(job_id)
        half = [info.key for info in await object_store.list(root) if "/attempts/" not in info.key]
        ended = await seen(bus, ExportFailedV1)
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        await eventually(lambda: built(bus))
    figure("a full work folder: files of half packages", trials=1, measured=len(half), promised=0)
    figure("a full work folder: jobs given up before there was room", trials=1, measured=ended, promised=0)
    assert (half, ended) == ([], 0)
    assert await object_store.exists(keys.export_file(job_id, keys.PACKAGE))


async def built(bus):
    return await seen(bus, PackageBuiltV1) == 1
