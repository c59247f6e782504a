"""Users and their tokens; all but `me` need the admin scope."""

from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

from contracts.vocabulary import Scope, Tier
from modelport.models import NewUser, Page, Token, User
from modelport.paging import everything
from modelport.transport import IDEMPOTENCY_KEY, Transport

PATH = "/api/v1/users"


class Users:
    """/api/v1/users."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def me(self) -> User:
        """Whose token this is."""
        return self._transport.call("GET", f"{PATH}/me", User)

    def create(self, name: str, tier: Tier | str) -> NewUser:
        """A new user with a first token, which only this answer shows."""
        body = {"name": name, "tier": str(tier)}
        return self._transport.call("POST", PATH, NewUser, body=body, headers={IDEMPOTENCY_KEY: str(uuid4())})

    def list(self, limit: int | None = None) -> Iterator[User]:
        return everything(self._transport, PATH, Page[User], limit=limit)

    def create_token(
        self, user_id: UUID | str, scopes: Sequence[Scope | str], *, expires_in_s: int | None = None
    ) -> Token:
        """One more token for a user, which only this answer shows; without `expires_in_s` it works until it is revoked."""
        body: dict[str, object] = {"scopes": [str(scope) for scope in scopes]}
        if expires_in_s is not None:
            body["expires_in_s"] = expires_in_s
        headers = {IDEMPOTENCY_KEY: str(uuid4())}
        return self._transport.call("POST", f"{PATH}/{user_id}/tokens", Token, body=body, headers=headers)

    def tokens(self, user_id: UUID | str) -> Iterator[Token]:
        """All tokens of a user, without their secrets."""
        return everything(self._transport, f"{PATH}/{user_id}/tokens", Page[Token])

    def revoke_token(self, user_id: UUID | str, token_id: UUID | str) -> None:
        """Stop a token at once."""
        self._transport.call("DELETE", f"{PATH}/{user_id}/tokens/{token_id}", object)

    def set_tier(self, user_id: UUID | str, tier: Tier | str) -> User:
        """Another tier; the user's endpoints obey it at once."""
        return self._transport.call("PATCH", f"{PATH}/{user_id}", User, body={"tier": str(tier)})
