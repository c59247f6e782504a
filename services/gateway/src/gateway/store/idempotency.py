"""Answers kept for an Idempotency-Key, in the transaction of the effect itself."""

from uuid import UUID

from msgspec import Struct, convert

from servicekit.inbox import PRUNE_S
from servicekit.postgres import Connection


class Kept(Struct, frozen=True, kw_only=True):
    """The answer to the first request with a key."""

    body_digest: str
    status: int
    response: bytes


async def try_lock(conn: Connection, user_id: UUID, path: str, key: str) -> bool:
    """False while another transaction works on the same key; the lock ends with the transaction."""
    return bool(
        await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", f"{user_id} {path} {key}")
    )


async def find(conn: Connection, user_id: UUID, path: str, key: str, max_age_s: float) -> Kept | None:
    record = await conn.fetchrow(
        "SELECT body_digest, status, response FROM idempotency_keys WHERE user_id = $1 AND path = $2 AND key = $3 "
        "AND created_at > now() - make_interval(secs => $4)",
        user_id,
        path,
        key,
        max_age_s,
    )
    return None if record is None else convert(dict(record), Kept)


async def keep(conn: Connection, user_id: UUID, path: str, key: str, answer: Kept) -> None:
    await conn.execute(
        "INSERT INTO idempotency_keys (user_id, path, key, body_digest, status, response) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (user_id, path, key) DO UPDATE "
        "SET body_digest = $4, status = $5, response = $6, created_at = now()",
        user_id,
        path,
        key,
        answer.body_digest,
        answer.status,
        answer.response,
    )


async def prune(conn: Connection, max_age_s: float) -> None:
    sql = "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(secs => $1)"
    await conn.execute(sql, max_age_s, timeout=PRUNE_S)
