"""Object storage against a real, authenticated S3 server."""

import asyncio
import hashlib
import os
import time
from pathlib import Path

import httpx
import msgspec
import pytest

from contracts.errors import Permanent, Transient
from servicekit import testing, uris
from servicekit.objects import ObjectStore
from servicekit.testing import S3Server

MIB = 1 << 20


@pytest.mark.integration
async def test_bytes_there_and_back(object_store: ObjectStore, s3_prefix: str) -> None:
    ref = await object_store.put_bytes(s3_prefix + "a/ü b.json", b"{}", "application/json")
    assert ref.sha256 == hashlib.sha256(b"{}").hexdigest()
    assert await object_store.get_bytes(ref.key, max_bytes=2) == b"{}"
    info = await object_store.head(ref.key)
    assert (info.size_bytes, info.content_type) == (2, "application/json")
    assert info.modified is not None


@pytest.mark.integration
async def test_a_missing_object_is_a_permanent_error(object_store: ObjectStore, s3_prefix: str, tmp_path: Path) -> None:
    key = s3_prefix + "none"
    for action in (
        object_store.get_bytes(key, 1),
        object_store.head(key),
        object_store.get_file(key, tmp_path / "x", max_bytes=1),
        object_store.copy(key, key + "2"),
    ):
        with pytest.raises(Permanent) as caught:
            await action
        assert caught.value.code == "object_missing"
        assert key in str(caught.value)
    assert not await object_store.exists(key)
    assert not (tmp_path / "x").exists()


@pytest.mark.integration
async def test_an_existing_object_is_not_overwritten_where_forbidden(object_store: ObjectStore, s3_prefix: str) -> None:
    await object_store.put_bytes(s3_prefix + "a", b"1", if_none_match=True)
    with pytest.raises(Permanent) as caught:
        await object_store.put_bytes(s3_prefix + "a", b"2", if_none_match=True)
    assert caught.value.code == "conflict"
    assert await object_store.get_bytes(s3_prefix + "a", 1) == b"1"


@pytest.mark.integration
@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1, 40 * MIB])
async def test_files_of_every_size(object_store: ObjectStore, s3_prefix: str, tmp_path: Path, size: int) -> None:
    source = tmp_path / "in"
    data = os.urandom(min(size, MIB)) * max(1, size // MIB) + b"x" * (size % MIB if size > MIB else 0)
    source.write_bytes(data[:size])
    digest = hashlib.sha256(data[:size]).hexdigest()
    ref = await object_store.put_file(s3_prefix + "f", source)
    assert (ref.sha256, ref.size_bytes) == (digest, size)
    back = await object_store.get_file(ref.key, tmp_path / "out", max_bytes=size, sha256=digest)
    assert back == ref
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


@pytest.mark.integration
async def test_too_large_and_wrong_digests_leave_no_file(
    object_store: ObjectStore, s3_prefix: str, tmp_path: Path
) -> None:
    await object_store.put_bytes(s3_prefix + "a", b"12345")
    with pytest.raises(Permanent, match="5 bytes, 4 are allowed"):
        await object_store.get_bytes(s3_prefix + "a", 4)
    with pytest.raises(Permanent, match="5 bytes, 4 are allowed"):
        await object_store.get_file(s3_prefix + "a", tmp_path / "x", max_bytes=4)
    with pytest.raises(Permanent, match="SHA-256 differs"):
        await object_store.get_file(s3_prefix + "a", tmp_path / "x", max_bytes=5, sha256="0" * 64)
    assert not (tmp_path / "x").exists()


@pytest.mark.integration
async def test_list_copy_and_delete(object_store: ObjectStore, s3_prefix: str) -> None:
    for name in ("b", "a", "sub/c"):
        await object_store.put_bytes(s3_prefix + name, name.encode())
    await object_store.copy(s3_prefix + "a", s3_prefix + "sub/a2")
    assert await object_store.get_bytes(s3_prefix + "sub/a2", 9) == b"a"
    listed = await object_store.list(s3_prefix)
    assert [info.key.removeprefix(s3_prefix) for info in listed] == ["a", "b", "sub/a2", "sub/c"]
    assert [info.size_bytes for info in listed] == [1, 1, 1, 5]
    await object_store.delete(s3_prefix + "a")
    await object_store.delete(s3_prefix + "a")
    assert await object_store.delete_prefix(s3_prefix + "sub/") == 2
    assert [info.key for info in await object_store.list(s3_prefix)] == [s3_prefix + "b"]
    with pytest.raises(ValueError, match="whole bucket"):
        await object_store.delete_prefix("/")


@pytest.mark.integration
async def test_a_listing_goes_beyond_one_page(object_store: ObjectStore, s3_prefix: str) -> None:
    await asyncio.gather(*(object_store.put_bytes(f"{s3_prefix}{n:04}", b"x") for n in range(1050)))
    assert len(await object_store.list(s3_prefix)) == 1050
    assert await object_store.delete_prefix(s3_prefix) == 1050


@pytest.mark.integration
async def test_a_presigned_get_has_a_name_a_range_and_an_end(object_store: ObjectStore, s3_prefix: str) -> None:
    key = s3_prefix + "package.zip"
    await object_store.put_bytes(key, b"0123456789")
    url = await object_store.presign_get(key, 2, 'shapes "v1" ü.zip')
    async with httpx.AsyncClient() as http:
        answer = await http.get(url, headers={"range": "bytes=2-4"})
        assert (answer.status_code, answer.content) == (206, b"234")
        assert "shapes%20%22v1%22%20%C3%BC.zip" in answer.headers["content-disposition"]
        assert (await http.get(url.replace("package.zip", "other.zip"))).status_code == 403
        assert (await http.get(url.replace("X-Amz-Signature=", "X-Amz-Signature=0"))).status_code == 403
        assert (await http.get(url.split("?")[0])).status_code == 403
        deadline = time.monotonic() + 10
        while (await http.get(url)).status_code != 403:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


@pytest.mark.integration
async def test_a_presigned_put_takes_exactly_the_announced_bytes(object_store: ObjectStore, s3_prefix: str) -> None:
    key, data = s3_prefix + "up.pt", b"weights" * 1000
    digest = hashlib.sha256(data).hexdigest()
    upload = await object_store.presign_put(key, 60, len(data), digest)
    async with httpx.AsyncClient() as http:
        assert (
            await http.put(upload.url, content=data + b"!", headers=upload.headers | _length(data, 1))
        ).status_code == 403
        assert (await http.put(upload.url, content=data)).status_code == 403
        forged = upload.headers | {"x-amz-checksum-sha256": "A" * 43 + "="}
        assert (await http.put(upload.url, content=data, headers=forged)).status_code == 403
        assert not await object_store.exists(key)
        assert (await http.put(upload.url, content=data, headers=upload.headers)).status_code == 200
    assert await object_store.get_bytes(key, len(data)) == data


@pytest.mark.integration
async def test_clients_get_the_public_address(s3_server: S3Server) -> None:
    public = msgspec.structs.replace(s3_server.settings, s3_public_endpoint="https://files.example.org")
    async with ObjectStore(public) as store:
        assert (await store.presign_get("k", 60)).startswith("https://files.example.org/vision-platform/k?")
        await store.ensure_bucket()
        await store.ensure_bucket()
        await store.check()


@pytest.mark.integration
async def test_a_wrong_secret_and_an_absent_server_are_told(s3_server: S3Server) -> None:
    wrong = msgspec.structs.replace(s3_server.settings, s3_secret_key="wrong")
    async with ObjectStore(wrong) as store:
        with pytest.raises(Transient, match=r"SignatureDoesNotMatch|403"):
            await store.check()
    away = msgspec.structs.replace(s3_server.settings, s3_endpoint="http://127.0.0.1:9")
    async with ObjectStore(away) as store:
        with pytest.raises(Transient, match="does not answer"):
            await store.head("x")


@pytest.mark.integration
async def test_a_store_that_starts_later_is_waited_for(tmp_path: Path) -> None:
    with testing.s3_server(tmp_path) as server:
        server.stop()
        async with ObjectStore(server.settings) as store:
            waiting = asyncio.create_task(store.ensure_bucket())
            await asyncio.sleep(0.5)
            assert not waiting.done()
            await asyncio.to_thread(server.start)
            await waiting
            await store.check()


@pytest.mark.integration
async def test_objects_outlive_a_killed_server(tmp_path: Path) -> None:
    with testing.s3_server(tmp_path) as server:
        async with ObjectStore(server.settings) as store:
            await store.ensure_bucket()
            await store.put_bytes("a", b"1")
            await asyncio.to_thread(server.restart)
            assert await whole_again(store, "a") == b"1"


async def whole_again(store: ObjectStore, key: str) -> bytes:
    """The object, once the server that was restarted has found its volumes."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await store.get_bytes(key, 1)
            except Transient:
                await asyncio.sleep(0.1)


def test_only_uris_of_our_bucket_are_taken() -> None:
    assert uris.parse_uri("s3://ours/uploads/1/a b.pt", "ours") == "uploads/1/a b.pt"
    assert uris.uri("ours", "k") == "s3://ours/k"


@pytest.mark.parametrize(
    "uri",
    [
        "", "s3://ours", "s3://ours/", "s3://other/k", "http://ours/k", "/etc/passwd", "s3://ours2/k", "s3://ours/../k",
        "s3://ours//k", "s3://ours/a/./b", "s3://ours/a\n", "S3://ours/k", "s3://ours/" + "k" * 1025,
    ],
)  # fmt: skip
def test_every_other_uri_is_refused_with_its_field(uri: str) -> None:
    with pytest.raises(Permanent) as caught:
        uris.parse_uri(uri, "ours", field="checkpoint_path")
    assert caught.value.code == "invalid_uri"
    assert caught.value.fields[0].field == "checkpoint_path"


def _length(data: bytes, more: int) -> dict[str, str]:
    return {"content-length": str(len(data) + more)}
