"""Idempotency-Key: the same request twice has one effect and one answer (draft-ietf-httpapi-idempotency-key-header).

The answer is kept in the transaction of the effect, so a crash leaves both or neither. Answers may carry secrets: they are
stored sealed with a keystream of HMAC-SHA256 over the client's key, of which only a digest is stored.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from litestar import MediaType, Response
from msgspec import Struct

from contracts.errors import FieldError, ModelportError, Permanent
from gateway.parts import Parts
from gateway.store import idempotency
from gateway.store.accounts import Caller
from servicekit.postgres import Connection, transaction

REPLAYED = "Idempotency-Replayed"
MAX_KEY = 255
NONCE_BYTES = 16

T = TypeVar("T", bound=Struct)


async def perform(
    parts: Parts,
    caller: Caller,
    effect: Callable[[Connection], Awaitable[T]],
    *,
    path: str,
    key: str | None,
    body: object,
    status: int = 201,
) -> Response[T]:
    """Run `effect` in a transaction, or answer what it has answered before to this key and body.

    Raises Permanent: invalid_request (the key), idempotency_mismatch (another body), idempotency_in_flight.
    """
    if key is None:
        async with transaction(parts.pool) as conn:
            return Response(await effect(conn), status_code=status)
    _check(key)
    settings = parts.settings
    stored = hmac.new(settings.key_pepper.encode(), key.encode(), hashlib.sha256).hexdigest()
    digest = hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
    async with transaction(parts.pool) as conn:
        if not await idempotency.try_lock(conn, caller.user_id, path, stored):
            sentence = "The first request with this Idempotency-Key is still running."
            raise ModelportError("idempotency_in_flight", sentence, headers={"Retry-After": "1"})
        kept = await idempotency.find(conn, caller.user_id, path, stored, settings.idempotency_ttl_s)
        if kept is not None:
            return _replay(kept, digest, key, settings.key_pepper)
        answer = await effect(conn)
        sealed = seal(msgspec.json.encode(answer), key, settings.key_pepper)
        kept = idempotency.Kept(body_digest=digest, status=status, response=sealed)
        await idempotency.keep(conn, caller.user_id, path, stored, kept)
    return Response(answer, status_code=status)


def seal(clear: bytes, key: str, pepper: str) -> bytes:
    """A fresh nonce and the bytes under its keystream."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _mask(clear, nonce, key, pepper)


def unseal(sealed: bytes, key: str, pepper: str) -> bytes:
    """What `seal` was given; garbage for another key or pepper."""
    return _mask(sealed[NONCE_BYTES:], sealed[:NONCE_BYTES], key, pepper)


def _mask(data: bytes, nonce: bytes, key: str, pepper: str) -> bytes:
    secret = hmac.new(pepper.encode(), b"idempotency " + key.encode(), hashlib.sha256).digest()
    blocks = range(0, len(data), 32)
    stream = b"".join(hmac.digest(secret, nonce + offset.to_bytes(8, "big"), "sha256") for offset in blocks)
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def _replay(kept: idempotency.Kept, digest: str, key: str, pepper: str) -> "Response[T]":
    if not hmac.compare_digest(kept.body_digest, digest):
        raise Permanent("idempotency_mismatch", "This Idempotency-Key was used with another body.")
    body = msgspec.Raw(unseal(kept.response, key, pepper))
    answer: Response[object] = Response(
        body, status_code=kept.status, media_type=MediaType.JSON, headers={REPLAYED: "true"}
    )
    return answer  # type: ignore[return-value]  # the same JSON as the first answer, kept as bytes


def _check(key: str) -> None:
    if not key or len(key) > MAX_KEY or not key.isprintable():
        message = f"must be 1 to {MAX_KEY} printable characters"
        raise Permanent(
            "invalid_request", f"Idempotency-Key {message}.", fields=(FieldError("Idempotency-Key", message),)
        )
