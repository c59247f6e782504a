"""The public keys that packages are signed with, as whoever runs the platform has told them to the gateway."""

from pathlib import Path

from msgspec import Struct

from contracts.errors import Permanent
from contracts.signing_keys import PublicKey, public_keys

SETTING = "MODELPORT_SIGNING_PUBLIC_KEYS_FILE"


class SigningKey(Struct, frozen=True, kw_only=True):
    """`key_id` is the SHA-256 of `public_key` (PEM); `is_current` signs now, the others made packages that are still about."""

    key_id: str
    curve: str
    public_key: str
    is_current: bool


class SigningKeys(Struct, frozen=True, kw_only=True):
    """The current key first; none where packages are not signed."""

    items: tuple[SigningKey, ...] = ()


def load(path: str) -> SigningKeys:
    """The keys of a PEM file, the current one first; none where no file is named.

    Raises Permanent("invalid_settings") for a file that cannot be read, holds no key, or a private one.
    """
    if not path:
        return SigningKeys()
    try:
        found = public_keys(Path(path).read_text(encoding="ascii"))
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _refused(path, str(error)) from error
    return SigningKeys(items=tuple(_shown(key, is_current=key is found[0]) for key in found))


def _shown(key: PublicKey, *, is_current: bool) -> SigningKey:
    return SigningKey(key_id=key.key_id, curve=key.curve, public_key=key.pem, is_current=is_current)


def _refused(path: str, reason: str) -> Permanent:
    hint = "Write one public key below another: openssl ec -in signing-key.pem -pubout"
    return Permanent("invalid_settings", f"{SETTING} {path!r} holds no public keys: {reason}.", hint=hint)
