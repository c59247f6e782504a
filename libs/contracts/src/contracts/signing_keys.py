"""Public keys that sign packages: elliptic curves as PEM, known by the digest that OpenSSF model signing names them by."""

import base64
import binascii
import hashlib
import re

from msgspec import Struct

BEGIN, END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
MAX_TEXT = 64 << 10
_LINE = 64
_BLOCK = re.compile(f"{BEGIN}\\s+([A-Za-z0-9+/=\\s]+){END}")
_CURVES = {
    bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04": ("P-256", 91),
    bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200") + b"\x04": ("P-384", 120),
}
"""The beginning of a SubjectPublicKeyInfo with an uncompressed point (RFC 5480), its curve and its length."""


class PublicKey(Struct, frozen=True, kw_only=True):
    """`key_id` is the SHA-256 of `pem` in hex, which signatures name their key by."""

    key_id: str
    curve: str
    pem: str


def public_keys(text: str) -> tuple[PublicKey, ...]:
    """Every public key of a PEM text, in its order; several are there while one follows another.

    Raises ValueError for a text without any, with a private key, or with a key of another kind.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"a file of public keys has at most {MAX_TEXT} characters")
    if "PRIVATE KEY" in text:
        raise ValueError("a private key stands among the public keys")
    found = {key.key_id: key for key in map(_public_key, _BLOCK.findall(text))}
    if len(found) < text.count(BEGIN) or not found:
        raise ValueError("there is no public key in it, or one twice or damaged; write them with openssl ec -pubout")
    return tuple(found.values())


def _public_key(body: str) -> PublicKey:
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a public key is damaged: {error}") from error
    for start, (curve, length) in _CURVES.items():
        if der.startswith(start) and len(der) == length:
            pem = _pem(der)
            return PublicKey(key_id=hashlib.sha256(pem.encode()).hexdigest(), curve=curve, pem=pem)
    raise ValueError("a public key is of another kind than an elliptic curve P-256 or P-384")


def _pem(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join((BEGIN, *lines, END, ""))
