"""The stack's secrets: generated once, kept in one file that only its owner can read."""

import os
import secrets
from pathlib import Path

import msgspec

from contracts.credentials import USER_PREFIX, mint


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Passwords and keys of the servers, the pepper of all digests, and the administrator's token."""

    postgres_password: str
    s3_access_key: str
    s3_secret_key: str
    key_pepper: str
    admin_token: str


def load_or_create(path: Path) -> Secrets:
    """Read the file, or make it with mode 600 at the first start."""
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    made = Secrets(
        postgres_password=secrets.token_hex(24),
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_hex(24),
        key_pepper=secrets.token_hex(32),
        admin_token=mint(USER_PREFIX),
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
