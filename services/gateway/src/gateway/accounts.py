"""Who calls and what they may do: users, tiers, bearer tokens and their scopes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import Message
from litestar.types import Scope as AsgiScope
from msgspec.structs import replace

from contracts import credentials
from contracts.errors import FieldError, ModelportError, Permanent
from contracts.vocabulary import Scope, Tier
from gateway.store import accounts
from gateway.store.accounts import Caller, TokenRow, UserRow
from servicekit.postgres import Connection, Pool, transaction

BOOTSTRAP_USER = uuid5(NAMESPACE_URL, "https://modelport.dev/users/bootstrap")
BOOTSTRAP_TOKEN = uuid5(BOOTSTRAP_USER, "token")
STANDING = "standing"
DEFAULT_SCOPES = (Scope.READ, Scope.WRITE)


async def ensure_bootstrap(pool: Pool, token: str, pepper: str) -> None:
    """Make the enterprise administrator whose token the settings name; an earlier bootstrap token stops working."""
    if not credentials.is_well_formed(token, credentials.USER_PREFIX):
        raise Permanent(
            "invalid_settings",
            "MODELPORT_BOOTSTRAP_TOKEN is not a token of this platform (mp_ and 36 letters and digits with a checksum).",
            hint="Make one with `python -m gateway.mint`.",
        )
    async with transaction(pool) as conn:
        await accounts.upsert_user(conn, BOOTSTRAP_USER, "admin", Tier.ENTERPRISE)
        await accounts.replace_token(
            conn,
            _token_row(BOOTSTRAP_USER, "bootstrap", tuple(Scope), token, BOOTSTRAP_TOKEN),
            credentials.digest(token, pepper),
        )


async def create_user(conn: Connection, name: str, tier: Tier, pepper: str) -> tuple[UserRow, str]:
    """A user and its first token, in clear for this once."""
    user_id = uuid4()
    await accounts.insert_user(conn, user_id, name, tier)
    _, secret = await create_token(conn, user_id, "first", DEFAULT_SCOPES, pepper)
    return await require_user(conn, user_id), secret


async def create_token(
    conn: Connection,
    user_id: UUID,
    name: str,
    scopes: Sequence[Scope],
    pepper: str,
    *,
    expires_in_s: int | None = None,
) -> tuple[TokenRow, str]:
    """One more token, in clear for this once; it lives for ever unless `expires_in_s` says how long."""
    secret = credentials.mint(credentials.USER_PREFIX)
    row = _token_row(user_id, name, scopes, secret, uuid4())
    if expires_in_s is not None:
        row = replace(row, expires_at=row.created_at + timedelta(seconds=expires_in_s))
    await accounts.insert_token(conn, row, credentials.digest(secret, pepper))
    return row, secret


async def require_user(conn: Connection | Pool, user_id: UUID) -> UserRow:
    """Raises Permanent("not_found")."""
    user = await accounts.user(conn, user_id)
    if user is None:
        raise Permanent("not_found", "No such user.")
    return user


def _token_row(user_id: UUID, name: str, scopes: Sequence[Scope], secret: str, token_id: UUID) -> TokenRow:
    return TokenRow(
        id=token_id,
        user_id=user_id,
        name=name,
        shown=credentials.shown(secret),
        scopes=sorted(set(scopes)),
        created_at=datetime.now(UTC),
    )


class Authentication(AbstractAuthenticationMiddleware):
    """`Authorization: Bearer mp_…` on every route but those that opt out; anything else is a 401.

    A string without the right checksum is refused without a look at the database.
    """

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        kind, _, token = connection.headers.get("authorization", "").partition(" ")
        token = token.strip()
        caller = None
        if kind.lower() == "bearer" and credentials.is_well_formed(token, credentials.USER_PREFIX):
            parts = connection.app.state.parts
            caller = await accounts.caller(parts.pool, credentials.digest(token, parts.settings.key_pepper))
        if caller is None:
            raise ModelportError("unauthenticated", "The request carries no valid bearer token.")
        connection.scope["state"][STANDING] = connection.app.state.parts.limits.admit(caller.user_id, caller.tier)
        return AuthenticationResult(user=caller, auth=token)


async def tell_standing(message: Message, scope: AsgiScope) -> None:
    """Before an answer is sent: how many requests the user has left this minute."""
    if message["type"] == "http.response.start" and (standing := scope["state"].get(STANDING)):
        told = ((name.lower().encode(), value.encode()) for name, value in standing.headers.items())
        message["headers"] = [*message.get("headers", []), *told]


async def require_scope(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: the token needs the scope that the route names in `opt["scope"]`; routes without authentication pass."""
    if "user" not in connection.scope:
        return
    caller: Caller = connection.user
    scope = handler.opt["scope"]
    if scope not in caller.scopes:
        raise ModelportError("forbidden", f"This action needs a token with the scope {scope}.")


async def refuse_unclear_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: a query parameter that the route does not know, or that is given twice, is an error and never ignored."""
    if "user" not in connection.scope:
        return
    given = [name for name, _ in connection.query_params.multi_items()]
    faults = {name: "is given more than once" for name in given if given.count(name) > 1}
    faults |= {name: "is not a parameter here" for name in given if name not in handler.parsed_fn_signature.parameters}
    if faults:
        fields = tuple(FieldError(name, fault) for name, fault in sorted(faults.items()))
        raise Permanent("invalid_request", f"{fields[0].field} {fields[0].message}.", fields=fields)
