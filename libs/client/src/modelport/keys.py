"""The public keys that a gateway says packages are signed with."""

from msgspec import Struct

from modelport.transport import Transport


class SigningKey(Struct, frozen=True, kw_only=True):
    """`is_current` signs what is made from now on; the others made packages that are still about."""

    key_id: str
    curve: str
    public_key: str
    is_current: bool = False


class SigningKeys(Struct, frozen=True, kw_only=True):
    items: tuple[SigningKey, ...] = ()


class Keys:
    """/api/v1/signing-keys."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> tuple[SigningKey, ...]:
        """The current one first; none where packages are not signed."""
        return self._transport.call("GET", "/api/v1/signing-keys", SigningKeys).items
