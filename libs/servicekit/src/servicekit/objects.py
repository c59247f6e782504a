"""Object storage: streamed in both directions with flat memory, checked by SHA-256, signed for clients.

aioboto3's own file transfer holds hundreds of MiB for a large file; parts of 8 MiB with bounded concurrency do not.
"""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec

from contracts.errors import Permanent, Transient
from contracts.keys import ObjectRef
from servicekit.object_errors import in_our_words
from servicekit.object_parts import PART_BYTES, PartSender
from servicekit.patience import START_PATIENCE_S, patiently
from servicekit.settings import S3Settings

SILENCE_S, COPY_SILENCE_S = 20, 300
"""How long a store may say nothing before a request is tried on another connection; it is silent while it copies."""
QUICKLY_COPIED = 256 << 20
_READ_BYTES, _PIECE_BYTES = 1 << 20, 64 << 10


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says about one object."""

    key: str
    size_bytes: int
    content_type: str = ""
    modified: datetime | None = None
    etag: str = ""
    """Changes with the bytes; the same bytes sent in the same way have the same."""


class PresignedUpload(msgspec.Struct, frozen=True, kw_only=True):
    """A PUT that a client may do: the signature covers `headers`, which it must send as given."""

    url: str
    headers: dict[str, str]


ObjectInfos = list[ObjectInfo]


class ObjectStore:
    """One bucket; use as `async with ObjectStore(settings) as store`.

    Raises Permanent `object_missing`, `payload_too_large` and `conflict`, Transient `unavailable` for everything else.
    """

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self.bucket = settings.s3_bucket
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._signer: Any = None
        self._sender = PartSender()

    async def __aenter__(self) -> "ObjectStore":
        import aioboto3

        self._session = aioboto3.Session()
        self._client = await self._stack.enter_async_context(self._open(self._settings.s3_endpoint))
        public = self._settings.s3_public_endpoint
        if public and public != self._settings.s3_endpoint:
            self._signer = await self._stack.enter_async_context(self._open(public))
        else:
            self._signer = self._client
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def _open(self, endpoint: str, silence_s: int = SILENCE_S) -> Any:
        from botocore.config import Config

        return self._session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=self._settings.s3_region,
            aws_access_key_id=self._settings.s3_access_key,
            aws_secret_access_key=self._settings.s3_secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"max_attempts": 4, "mode": "standard"},
                connect_timeout=5,
                read_timeout=silence_s,
                max_pool_connections=32,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    @property
    def client(self) -> Any:
        """The S3 client itself, for what goes beyond single objects."""
        return self._client

    async def ensure_bucket(self, patience_s: float = START_PATIENCE_S) -> None:
        """Create the bucket where it is missing; a store that does not answer yet is waited for."""
        await patiently(self._ensure_bucket, "object storage", (Transient,), patience_s)

    async def _ensure_bucket(self) -> None:
        async with in_our_words(self.bucket):
            listed = await self._client.list_buckets()
            if self.bucket not in {bucket["Name"] for bucket in listed.get("Buckets", [])}:
                await self._client.create_bucket(Bucket=self.bucket)

    async def check(self) -> None:
        """For /readyz: raises while the bucket cannot be reached."""
        async with in_our_words(self.bucket):
            await self._client.head_bucket(Bucket=self.bucket)

    async def put_bytes(
        self, key: str, data: bytes, content_type: str = "application/octet-stream", if_none_match: bool = False
    ) -> ObjectRef:
        """Store a small object; with `if_none_match` an existing one is left and Permanent `conflict` raised."""
        extra = {"IfNoneMatch": "*"} if if_none_match else {}
        async with in_our_words(key):
            await self._client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType=content_type, **extra)
        return ObjectRef(key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    async def put_file(self, key: str, path: Path | str, content_type: str = "application/octet-stream") -> ObjectRef:
        """Store a file of any size; at most 4 parts of 8 MiB are in memory, of all files that are being stored together.

        A failed upload leaves no parts behind.
        """
        path = Path(path)
        size = (await asyncio.to_thread(path.stat)).st_size
        if size <= PART_BYTES:
            return await self.put_bytes(key, await asyncio.to_thread(path.read_bytes), content_type)
        async with in_our_words(key):
            made = await self._client.create_multipart_upload(Bucket=self.bucket, Key=key, ContentType=content_type)
            target = {"Bucket": self.bucket, "Key": key, "UploadId": made["UploadId"]}
            try:
                with await asyncio.to_thread(path.open, "rb") as file:
                    digest, parts = await self._sender.send(self._client, target, file)
                await self._client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
            except BaseException:
                await self._client.abort_multipart_upload(**target)
                raise
        return ObjectRef(key=key, sha256=digest, size_bytes=size)

    async def get_bytes(self, key: str, max_bytes: int) -> bytes:
        """The whole object; Permanent `payload_too_large` where it has more than `max_bytes`."""
        async with in_our_words(key), self._body(key, max_bytes) as (body, _):
            return bytes(await body.read())

    @asynccontextmanager
    async def reading(self, key: str, max_bytes: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The object piece by piece while the block runs; refuses what `get_bytes` refuses."""
        async with in_our_words(key), self._body(key, max_bytes) as (body, _):
            yield body.iter_chunks(_PIECE_BYTES)

    async def get_file(self, key: str, path: Path | str, *, max_bytes: int, sha256: str = "") -> ObjectRef:
        """Stream the object into `path`; a wrong `sha256` or too many bytes raises and removes the file."""
        path = Path(path)
        digest = hashlib.sha256()
        done = 0
        try:
            with await asyncio.to_thread(path.open, "wb") as file:
                async with in_our_words(key), self._body(key, max_bytes) as (body, size):
                    while chunk := await body.read(_READ_BYTES):
                        done += len(chunk)
                        await asyncio.to_thread(_keep, file, digest, chunk)
            if done != size:
                raise Transient("unavailable", f"{key} broke off after {done} of {size} bytes")
            if sha256 and digest.hexdigest() != sha256:
                raise Permanent("checkpoint_unreadable", f"{key} is not what was announced: its SHA-256 differs")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return ObjectRef(key=key, sha256=digest.hexdigest(), size_bytes=done)

    @asynccontextmanager
    async def _body(self, key: str, max_bytes: int) -> AsyncIterator[tuple[Any, int]]:
        answer = await self._client.get_object(Bucket=self.bucket, Key=key)
        body = answer["Body"]
        async with body:
            size = int(answer["ContentLength"])
            if size > max_bytes:
                raise Permanent("payload_too_large", f"{key} has {size} bytes, {max_bytes} are allowed")
            yield body, size

    async def head(self, key: str) -> ObjectInfo:
        """Size, type and time of one object."""
        async with in_our_words(key):
            found = await self._client.head_object(Bucket=self.bucket, Key=key)
        return ObjectInfo(
            key=key,
            size_bytes=int(found["ContentLength"]),
            content_type=found.get("ContentType", ""),
            modified=found.get("LastModified"),
            etag=found.get("ETag", "").strip('"'),
        )

    async def exists(self, key: str) -> bool:
        try:
            await self.head(key)
        except Permanent as error:
            if error.code == "object_missing":
                return False
            raise
        return True

    async def list(self, prefix: str) -> ObjectInfos:
        """All objects below a prefix, in the order of their keys."""
        found: ObjectInfos = []
        async with in_our_words(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            async for page in pages:
                for item in page.get("Contents", []):
                    told = {"modified": item.get("LastModified"), "etag": item.get("ETag", "").strip('"')}
                    found.append(ObjectInfo(key=item["Key"], size_bytes=int(item["Size"]), **told))
        return found

    async def delete(self, key: str) -> None:
        """Remove one object; a missing one is fine."""
        async with in_our_words(key):
            await self._client.delete_object(Bucket=self.bucket, Key=key)

    async def delete_prefix(self, prefix: str) -> int:
        """Remove everything below a prefix, which must not be empty; how many objects."""
        if not prefix.strip("/"):
            raise ValueError("an empty prefix would delete the whole bucket")
        keys = [item.key for item in await self.list(prefix)]
        async with in_our_words(prefix):
            for first in range(0, len(keys), 1000):
                batch = [{"Key": key} for key in keys[first : first + 1000]]
                await self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
        return len(keys)

    async def copy(self, src: str, dst: str, size_bytes: int | None = None) -> None:
        """Copy inside the store, up to 5 GiB; one whose size is not told, or large, is waited for with more patience."""
        wanted = {"Bucket": self.bucket, "Key": dst, "CopySource": {"Bucket": self.bucket, "Key": src}}
        async with in_our_words(src):
            if size_bytes is not None and size_bytes <= QUICKLY_COPIED:
                await self._client.copy_object(**wanted)
                return
            async with self._open(self._settings.s3_endpoint, COPY_SILENCE_S) as patient:
                await patient.copy_object(**wanted)

    async def presign_get(self, key: str, expires_s: int, filename: str = "") -> str:
        """A URL for clients, valid `expires_s` seconds; browsers save it as `filename`."""
        params: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        if filename:
            params["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        return str(await self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_s))

    async def presign_put(self, key: str, expires_s: int, size: int, sha256: str) -> PresignedUpload:
        """A PUT for clients of exactly `size` bytes with this SHA-256 (hex)."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        params = {"Bucket": self.bucket, "Key": key, "ContentLength": size, "ChecksumSHA256": checksum}
        url = await self._signer.generate_presigned_url("put_object", Params=params, ExpiresIn=expires_s)
        return PresignedUpload(url=str(url), headers={"content-length": str(size), "x-amz-checksum-sha256": checksum})


def _keep(file: BinaryIO, digest: Any, chunk: bytes) -> None:
    digest.update(chunk)
    file.write(chunk)
