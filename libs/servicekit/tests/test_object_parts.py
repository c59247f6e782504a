"""Large files in parts, against a real S3 server."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from contracts.errors import Transient
from servicekit.object_parts import PART_CONCURRENCY
from servicekit.objects import ObjectStore

pytestmark = pytest.mark.integration
MIB = 1 << 20


async def test_a_large_upload_holds_a_bounded_part_of_the_file(
    object_store: ObjectStore, s3_prefix: str, tmp_path: Path
) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(200 * MIB)
    await object_store.put_bytes(s3_prefix + "warm", b"x" * MIB)
    before, peak, ended = _rss(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, _rss())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        await object_store.put_file(s3_prefix + "large", source)
        await object_store.get_file(s3_prefix + "large", tmp_path / "back", max_bytes=200 * MIB)
    finally:
        ended.set()
        watcher.join()
    assert peak - before < 110 * MIB


async def test_a_failed_upload_leaves_no_parts(
    object_store: ObjectStore, s3_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    source.write_bytes(b"x" * 40 * MIB)
    real = object_store._client.upload_part

    async def failing(**options: object) -> object:
        if options["PartNumber"] == 3:
            raise ConnectionError("cable cut")
        return await real(**options)

    monkeypatch.setattr(object_store._client, "upload_part", failing)
    with pytest.raises(Transient):
        await object_store.put_file(s3_prefix + "f", source)
    left = await object_store._client.list_multipart_uploads(Bucket=object_store.bucket, Prefix=s3_prefix)
    assert not left.get("Uploads")
    assert not await object_store.exists(s3_prefix + "f")


async def test_files_stored_together_share_the_room_for_parts(
    object_store: ObjectStore, s3_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    with source.open("wb") as file:
        file.truncate(48 * MIB)
    real = object_store._client.upload_part
    held = most = 0

    async def counted(**options: object) -> object:
        nonlocal held, most
        held += 1
        most = max(most, held)
        try:
            return await real(**options)
        finally:
            held -= 1

    monkeypatch.setattr(object_store._client, "upload_part", counted)
    refs = await asyncio.gather(*(object_store.put_file(f"{s3_prefix}{number}", source) for number in range(4)))
    assert {ref.size_bytes for ref in refs} == {48 * MIB}
    assert 1 < most <= PART_CONCURRENCY


@pytest.mark.parametrize("end", ["failed", "cancelled", "cancelled before a part was begun"])
async def test_an_upload_that_ends_early_gives_its_room_back(
    object_store: ObjectStore, s3_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    source = tmp_path / "in"
    source.write_bytes(b"x" * 64 * MIB)
    real = object_store._client.upload_part
    begun = asyncio.Event()

    async def stuck(**options: object) -> object:
        begun.set()
        if end == "failed":
            raise ConnectionError("cable cut")
        return await asyncio.sleep(3600)

    monkeypatch.setattr(object_store._client, "upload_part", stuck)
    upload = asyncio.create_task(object_store.put_file(s3_prefix + "f", source))
    if end == "failed":
        with pytest.raises(Transient):
            await upload
    else:
        if end == "cancelled":
            await begun.wait()
        else:
            await asyncio.sleep(0)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
    monkeypatch.setattr(object_store._client, "upload_part", real)
    ref = await asyncio.wait_for(object_store.put_file(s3_prefix + "f", source), 100)
    assert ref.size_bytes == 64 * MIB
    assert object_store._sender._room._value == PART_CONCURRENCY


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
