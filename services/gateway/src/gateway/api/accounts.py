"""/api/v1/users: users, their tiers and their tokens; all but `me` need the admin scope."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from contracts.errors import Permanent
from contracts.vocabulary import Scope, Tier
from gateway import accounts, deployment_requests, once
from gateway.api.common import ADMIN, READ, Cursor, Id, IdempotencyKey, Limit, Name, Sender, Wired
from gateway.store import accounts as store
from gateway.store.accounts import TokenRow, UserRow
from gateway.store.pages import Page, Query
from servicekit.postgres import Connection, transaction

PATH = "/api/v1/users"
MAX_LIFE_S = 10 * 366 * 86_400


class NewUser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/users."""

    name: Name
    tier: Tier = Tier.FREE


class UserPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of PATCH /api/v1/users/{id}."""

    tier: Tier


class NewToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/users/{id}/tokens; without `expires_in_s` the token works until it is revoked."""

    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope))] = field(
        default_factory=lambda: [*accounts.DEFAULT_SCOPES]
    )
    name: Name = "token"
    expires_in_s: Annotated[int, Meta(ge=1, le=MAX_LIFE_S)] | None = None


class User(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    tier: Tier
    created_at: datetime


class CreatedUser(Struct, frozen=True, kw_only=True):
    """`token` (scopes read and write) is shown only here."""

    id: UUID
    name: str
    tier: Tier
    created_at: datetime
    token: str


class Me(Struct, frozen=True, kw_only=True):
    """Whose token this is, and what the token may do."""

    id: UUID
    name: str
    tier: Tier
    created_at: datetime
    scopes: list[Scope]


class Token(Struct, frozen=True, kw_only=True):
    """`prefix` is what one recognises a token by."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class CreatedToken(Struct, frozen=True, kw_only=True):
    """`token` is shown only here."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    token: str


class UserPage(Page[User], frozen=True, kw_only=True):
    """A page of users."""


class TokenPage(Page[Token], frozen=True, kw_only=True):
    """All tokens of one user."""


@get(f"{PATH}/me", **READ)
async def get_me(parts: Wired, caller: Sender) -> Me:
    """Whose token this is."""
    user = await accounts.require_user(parts.pool, caller.user_id)
    return Me(**asdict(user), scopes=sorted(caller.scopes))


@get(PATH, **ADMIN)
async def list_users(parts: Wired, limit: Limit = 50, cursor: Cursor = None) -> UserPage:
    """All users, newest first."""
    page = await store.users(parts.pool, Query(filters={}, limit=limit, cursor=cursor))
    return UserPage(items=[_user(row) for row in page.items], next_cursor=page.next_cursor, has_more=page.has_more)


@post(PATH, **ADMIN)
async def create_user(
    parts: Wired, caller: Sender, data: JSONBody[NewUser], idempotency_key: IdempotencyKey = None
) -> Response[CreatedUser]:
    """A user with a first token."""

    async def effect(conn: Connection) -> CreatedUser:
        row, token = await accounts.create_user(conn, data.name, data.tier, parts.settings.key_pepper)
        return CreatedUser(**asdict(row), token=token)

    return await once.perform(parts, caller, effect, path=PATH, key=idempotency_key, body=data)


@get(f"{PATH}/{{user_id:uuid}}", **ADMIN)
async def get_user(parts: Wired, user_id: Id) -> User:
    """One user."""
    return _user(await accounts.require_user(parts.pool, user_id))


@patch(f"{PATH}/{{user_id:uuid}}", **ADMIN)
async def update_user(parts: Wired, caller: Sender, user_id: Id, data: JSONBody[UserPatch]) -> User:
    """Another tier; the user's endpoints obey it at once."""
    async with transaction(parts.pool) as conn:
        await accounts.require_user(conn, user_id)
        await deployment_requests.change_tier(conn, user_id, data.tier, caller.user_id)
        return _user(await accounts.require_user(conn, user_id))


@post(f"{PATH}/{{user_id:uuid}}/tokens", **ADMIN)
async def create_token(
    parts: Wired, caller: Sender, user_id: Id, data: JSONBody[NewToken], idempotency_key: IdempotencyKey = None
) -> Response[CreatedToken]:
    """One more token for a user."""

    async def effect(conn: Connection) -> CreatedToken:
        await accounts.require_user(conn, user_id)
        row, secret = await accounts.create_token(
            conn, user_id, data.name, data.scopes, parts.settings.key_pepper, expires_in_s=data.expires_in_s
        )
        return CreatedToken(
            id=row.id,
            user_id=row.user_id,
            name=row.name,
            prefix=row.shown,
            scopes=row.scopes,
            created_at=row.created_at,
            expires_at=row.expires_at,
            token=secret,
        )

    path = f"{PATH}/{user_id}/tokens"
    return await once.perform(parts, caller, effect, path=path, key=idempotency_key, body=data)


@get(f"{PATH}/{{user_id:uuid}}/tokens", **ADMIN)
async def list_tokens(parts: Wired, user_id: Id) -> TokenPage:
    """All tokens of a user, newest first; never the secrets."""
    await accounts.require_user(parts.pool, user_id)
    return TokenPage(items=[_token(row) for row in await store.tokens(parts.pool, user_id)])


@delete(f"{PATH}/{{user_id:uuid}}/tokens/{{token_id:uuid}}", **ADMIN)
async def revoke_token(parts: Wired, user_id: Id, token_id: Id) -> None:
    """Stop a token at once."""
    async with transaction(parts.pool) as conn:
        if not await store.revoke_token(conn, user_id, token_id):
            raise Permanent("not_found", "No such token.")


ROUTES: Sequence[HTTPRouteHandler] = (
    get_me,
    list_users,
    create_user,
    get_user,
    update_user,
    create_token,
    list_tokens,
    revoke_token,
)


def _user(row: UserRow) -> User:
    return User(**asdict(row))


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        prefix=row.shown,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
