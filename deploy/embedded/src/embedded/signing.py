"""The key that the stack's packager signs with: made once, in a folder that only its owner can enter."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from contracts.signing_keys import public_keys
from embedded.secrets import write_private

FOLDER = "signing"


def files(home: Path) -> tuple[Path, Path]:
    """Where the private key and the public keys of a stack lie."""
    return home / FOLDER / "signing-key.pem", home / FOLDER / "public-keys.pem"


def load_or_create(home: Path) -> None:
    """`signing-key.pem`, made at the first start, and `public-keys.pem` with its public key before those of earlier ones.

    Whoever wants a new key puts it in the place of the old one, or removes the old one, and starts the stack again.
    """
    private, public = files(home)
    private.parent.mkdir(mode=0o700, exist_ok=True)
    if not private.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        write_private(private, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    kept = public.read_text(encoding="ascii") if public.exists() else ""
    if (text := _with_current(private.read_bytes(), kept)) != kept:
        write_private(public, text.encode())


def _with_current(private: bytes, kept: str) -> str:
    public = load_pem_private_key(private, password=None).public_key()
    current = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    earlier = [key.pem for key in public_keys(kept)] if kept else []
    return "".join([current, *(pem for pem in earlier if pem != current)])
