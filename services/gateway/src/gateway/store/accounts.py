"""Users and their bearer tokens, of which only digests are stored."""

from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct, convert

from contracts.vocabulary import Scope, Tier
from gateway.store import pages
from servicekit.postgres import Connection, Pool


class UserRow(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    tier: Tier
    created_at: datetime


class TokenRow(Struct, frozen=True, kw_only=True):
    """`shown` is the prefix by which an owner recognises the token."""

    id: UUID
    user_id: UUID
    name: str
    shown: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Caller(Struct, frozen=True, kw_only=True):
    """Who sends a request, and what the token at hand may do."""

    user_id: UUID
    name: str
    tier: Tier
    token_id: UUID
    scopes: frozenset[Scope]

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes


_USER = "SELECT id, name, tier, created_at FROM users"
_TOKENS = "SELECT id, user_id, name, shown, scopes, created_at, expires_at, revoked_at FROM tokens"


async def insert_user(conn: Connection, user_id: UUID, name: str, tier: Tier) -> None:
    await conn.execute("INSERT INTO users (id, name, tier) VALUES ($1, $2, $3)", user_id, name, tier)


async def upsert_user(conn: Connection, user_id: UUID, name: str, tier: Tier) -> None:
    await conn.execute(
        "INSERT INTO users (id, name, tier) VALUES ($1, $2, $3) "
        "ON CONFLICT (id) DO UPDATE SET name = $2, tier = $3, updated_at = now()",
        user_id,
        name,
        tier,
    )


async def user(conn: Connection | Pool, user_id: UUID) -> UserRow | None:
    return _user(await conn.fetchrow(f"{_USER} WHERE id = $1", user_id))


async def lock_user(conn: Connection, user_id: UUID) -> UserRow | None:
    """The user's row, held until the transaction ends: what counts against limits is decided one after the other."""
    return _user(await conn.fetchrow(f"{_USER} WHERE id = $1 FOR NO KEY UPDATE", user_id))


async def users(conn: Connection | Pool, query: pages.Query) -> pages.Page[UserRow]:
    return await pages.fetch(conn, _USER, query, lambda record: convert(dict(record), UserRow))


async def set_tier(conn: Connection, user_id: UUID, tier: Tier) -> None:
    await conn.execute("UPDATE users SET tier = $2, updated_at = now() WHERE id = $1", user_id, tier)


async def insert_token(conn: Connection, token: TokenRow, digest: str) -> None:
    await conn.execute(
        "INSERT INTO tokens (id, user_id, name, digest, shown, scopes, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        token.id,
        token.user_id,
        token.name,
        digest,
        token.shown,
        [str(scope) for scope in token.scopes],
        token.expires_at,
    )


async def replace_token(conn: Connection, token: TokenRow, digest: str) -> None:
    """Give the token of this id another secret."""
    await conn.execute("DELETE FROM tokens WHERE id = $1 OR digest = $2", token.id, digest)
    await insert_token(conn, token, digest)


async def tokens(conn: Connection | Pool, user_id: UUID) -> list[TokenRow]:
    """All tokens of a user, newest first."""
    records = await conn.fetch(f"{_TOKENS} WHERE user_id = $1 ORDER BY created_at DESC, id", user_id)
    return [convert(dict(record), TokenRow) for record in records]


async def revoke_token(conn: Connection, user_id: UUID, token_id: UUID) -> bool:
    """False where the user has no such token; revoking twice is fine."""
    status = await conn.execute(
        "UPDATE tokens SET revoked_at = COALESCE(revoked_at, now()) WHERE id = $1 AND user_id = $2", token_id, user_id
    )
    return status == "UPDATE 1"


async def caller(conn: Connection | Pool, digest: str) -> Caller | None:
    """Whose token has this digest; None where it is unknown, expired or revoked."""
    record = await conn.fetchrow(
        "SELECT u.id AS user_id, u.name, u.tier, t.id AS token_id, t.scopes FROM tokens t JOIN users u ON u.id = t.user_id "
        "WHERE t.digest = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())",
        digest,
    )
    return None if record is None else convert(dict(record), Caller)


async def is_valid(conn: Connection | Pool, token_id: UUID) -> bool:
    """Whether a token that was accepted before still is."""
    return bool(
        await conn.fetchval(
            "SELECT 1 FROM tokens WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
            token_id,
        )
    )


def _user(record: asyncpg.Record | None) -> UserRow | None:
    return None if record is None else convert(dict(record), UserRow)
