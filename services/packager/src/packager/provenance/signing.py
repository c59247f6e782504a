"""The key that packages are signed with: read from its file at the start, used deterministically, never told to anybody."""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from contracts import signatures
from contracts.errors import Permanent
from contracts.signing_keys import public_keys

SETTING = "MODELPORT_SIGNING_KEY_FILE"
HASHES: dict[str, type[hashes.HashAlgorithm]] = {"P-256": hashes.SHA256, "P-384": hashes.SHA384}
_HINT = (
    "Make one with: openssl ecparam -name prime256v1 -genkey -noout -out signing-key.pem && chmod 600 signing-key.pem"
)


class Signer:
    """Signs packages; the same bytes and the same key give the same signature (RFC 6979)."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Raises ValueError for another curve than P-256 or P-384."""
        encoded = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        [self.public_key] = public_keys(encoded.decode())
        self._key = key
        self._algorithm = ec.ECDSA(HASHES[self.public_key.curve](), deterministic_signing=True)

    @property
    def key_id(self) -> str:
        return self.public_key.key_id

    def sign(self, name: str, digests: dict[str, str]) -> bytes:
        """The signature file over files, SHA-256 in hex by their path; `name` is what it calls them."""
        payload = signatures.statement(name, digests)
        return signatures.bundle(payload, self._key.sign(signatures.pae(payload), self._algorithm), self.key_id)


def load(path: str) -> Signer | None:
    """The signer whose private key a PEM file holds; None where no file is named, and packages stay unsigned.

    Raises Permanent("invalid_settings") for a file that others may read, or that holds no fitting key.
    """
    if not path:
        return None
    try:
        return Signer(_private_key(Path(path)))
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _refused(path, str(error)) from error


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    with path.open("rb") as file:
        if (mode := os.fstat(file.fileno()).st_mode) & 0o007:
            raise ValueError(f"everybody can read it (mode {mode & 0o777:o}); chmod 600 it")
        key = load_pem_private_key(file.read(1 << 16), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("its key is not an elliptic curve P-256 or P-384")
    return key


def _refused(path: str, reason: str) -> Permanent:
    return Permanent("invalid_settings", f"{SETTING} {path!r} is no key to sign packages with: {reason}.", hint=_HINT)
