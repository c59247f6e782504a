"""The stack's secrets: generated once, kept in one file that only its owner can read."""

import hmac
import os
import secrets
from pathlib import Path

import msgspec

from contracts.credentials import USER_PREFIX, mint
from contracts.publishers import OPERATOR


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Passwords and keys of the servers, the pepper of all digests, and the administrator's token."""

    postgres_password: str
    s3_access_key: str
    s3_secret_key: str
    key_pepper: str
    admin_token: str
    nats_password: str = ""
    """Of the bus's operator; those of the services are derived from it."""

    def of_bus_user(self, name: str) -> str:
        """The password of one user of the bus."""
        if name == OPERATOR:
            return self.nats_password
        return hmac.digest(self.nats_password.encode(), name.encode(), "sha256").hex()[:48]


def load_or_create(path: Path) -> Secrets:
    """Read the file, or make it with mode 600 at the first start; one of an earlier version gets what it lacks."""
    if path.exists():
        kept = msgspec.json.decode(path.read_bytes(), type=Secrets)
        if not kept.nats_password:
            kept = msgspec.structs.replace(kept, nats_password=secrets.token_hex(24))
            write_private(path, msgspec.json.encode(kept))
        return kept
    made = Secrets(
        postgres_password=secrets.token_hex(24),
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_hex(24),
        key_pepper=secrets.token_hex(32),
        admin_token=mint(USER_PREFIX),
        nats_password=secrets.token_hex(24),
    )
    write_private(path, msgspec.json.encode(made))
    return made


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically; nobody but its owner can read it at any moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
    draft.replace(path)
