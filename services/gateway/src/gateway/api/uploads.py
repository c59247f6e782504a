"""/api/v1/uploads: a signed place in the bucket for one file."""

from collections.abc import Sequence
from typing import Annotated
from uuid import uuid4

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import Meta, Struct

from contracts import keys
from contracts.errors import FieldError, Permanent
from gateway import once, requests
from gateway.api.common import WRITE, IdempotencyKey, Sender, Wired
from servicekit.postgres import Connection
from servicekit.uris import uri

PATH = "/api/v1/uploads"
NAME_BYTES = 255
"""What a file system takes."""


class NewUpload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/uploads; `sha256` in hex."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    size_bytes: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Upload(Struct, frozen=True, kw_only=True):
    """PUT the file to `upload_url` with exactly these `headers`; `uri` is its name from then on."""

    uri: str
    upload_url: str
    headers: dict[str, str]


@post(PATH, **WRITE)
async def create_upload(
    parts: Wired, caller: Sender, data: JSONBody[NewUpload], idempotency_key: IdempotencyKey = None
) -> Response[Upload]:
    """A signed URL for one file of this size and digest."""
    requests.require_size(caller.tier, data.size_bytes, "size_bytes")
    key = keys.upload(caller.user_id, uuid4(), data.filename)
    name = key.rsplit("/", 1)[1]
    if name in ("", ".", "..") or not name.isprintable() or len(name.encode()) > NAME_BYTES:
        message = "is not the name of a file"
        raise Permanent("invalid_request", f"filename {message}.", fields=(FieldError("filename", message),))

    async def effect(_: Connection) -> Upload:
        ttl = int(parts.settings.upload_ttl_s)
        signed = await parts.objects.presign_put(key, ttl, data.size_bytes, data.sha256)
        return Upload(uri=uri(parts.objects.bucket, key), upload_url=signed.url, headers=signed.headers)

    return await once.perform(parts, caller, effect, path=PATH, key=idempotency_key, body=data)


ROUTES: Sequence[HTTPRouteHandler] = (create_upload,)
