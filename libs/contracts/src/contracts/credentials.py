"""API keys and user tokens: minted once, recognisable, stored and compared only as keyed digests.

Shape: `<prefix>_` + 30 random base62 characters + 6 base62 characters of their CRC-32, so that a typing error or a random string is
refused without a look-up (the design of GitHub's tokens).
"""

import hashlib
import hmac
import secrets
import string
import zlib

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
API_KEY_PREFIX = "pk"
USER_PREFIX = "mp"
RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6
SHOWN_LENGTH = 8


def mint(prefix: str) -> str:
    """A new secret of about 178 bits."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return f"{prefix}_{body}{_checksum(body)}"


def is_well_formed(secret: str, prefix: str) -> bool:
    """Whether the prefix, the alphabet, the length and the checksum are right; says nothing of validity."""
    head, _, body = secret.partition("_")
    if head != prefix or len(body) != RANDOM_LENGTH + CHECKSUM_LENGTH or not body.isascii() or not body.isalnum():
        return False
    return hmac.compare_digest(_checksum(body[:RANDOM_LENGTH]), body[RANDOM_LENGTH:])


def digest(secret: str, pepper: str) -> str:
    """HMAC-SHA256 in hex: what databases and events hold."""
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()


def shown(secret: str) -> str:
    """The part by which an owner recognises a key: prefix and first characters."""
    return secret[:SHOWN_LENGTH]


def _checksum(body: str) -> str:
    value, out = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        value, rest = divmod(value, len(ALPHABET))
        out = ALPHABET[rest] + out
    return out
