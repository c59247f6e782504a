"""Signatures of packages in the OpenSSF model-signing format v1.0, and nothing of that format that ours never say.

A file `provenance/model.sig` is a Sigstore bundle around a DSSE envelope around an in-toto statement that lists the digest of
every other file. There is one way to write it, so that a reader can refuse any other bytes.
"""

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from contracts.keys import SIGNATURE
from contracts.model_package import Sha256

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
MAX_BYTES = 4 << 20


class Exact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a signature: every field known, none more."""


class Digest(Exact, frozen=True, kw_only=True):
    sha256: Sha256


class Subject(Exact, frozen=True, kw_only=True):
    """The digest is of the digests of all files, in the order of the list."""

    name: str
    digest: Digest


class Serialization(Exact, frozen=True, kw_only=True):
    """How the files were hashed."""

    method: Literal["files"] = "files"
    hash_type: Literal["sha256"] = "sha256"
    allow_symlinks: bool = False
    ignore_paths: tuple[str] = (SIGNATURE,)


class Resource(Exact, frozen=True, kw_only=True):
    name: str
    algorithm: Literal["sha256"] = "sha256"
    digest: Sha256


class Predicate(Exact, frozen=True, kw_only=True):
    serialization: Serialization = Serialization()
    resources: Annotated[tuple[Resource, ...], Meta(min_length=1, max_length=4096)]


class Signed(Exact, frozen=True, kw_only=True):
    """The statement that is signed."""

    type: Literal["https://in-toto.io/Statement/v1"] = field(name="_type", default=STATEMENT_TYPE)
    subject: tuple[Subject]
    predicate_type: Literal["https://model_signing/signature/v1.0"] = field(
        name="predicateType", default=PREDICATE_TYPE
    )
    predicate: Predicate


class _Signature(Exact, frozen=True, kw_only=True):
    sig: bytes
    keyid: Literal[""] = ""


class _Envelope(Exact, frozen=True, kw_only=True, rename="camel"):
    payload: bytes
    payload_type: Literal["application/vnd.in-toto+json"] = PAYLOAD_TYPE
    signatures: tuple[_Signature]


class _KeyHint(Exact, frozen=True, kw_only=True):
    hint: Sha256


class _Material(Exact, frozen=True, kw_only=True, rename="camel"):
    public_key: _KeyHint
    tlog_entries: tuple[()] = ()


class _Bundle(Exact, frozen=True, kw_only=True, rename="camel"):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = BUNDLE_TYPE
    verification_material: _Material
    dsse_envelope: _Envelope


class Opened(Struct, frozen=True, kw_only=True):
    """What a signature file holds; nothing of it is proven before the signature is verified over `pae(payload)`."""

    key_id: str
    payload: bytes
    signature: bytes


def statement(name: str, digests: Mapping[str, str]) -> bytes:
    """The statement about files, SHA-256 in hex by their path in the package; `name` is told to people alone."""
    names = sorted(digests, key=lambda path: PurePosixPath(path).parts)
    resources = tuple(Resource(name=path, digest=digests[path]) for path in names)
    subject = Subject(name=name, digest=Digest(sha256=_root(resources)))
    return msgspec.json.encode(Signed(subject=(subject,), predicate=Predicate(resources=resources)))


def pae(payload: bytes) -> bytes:
    """The bytes that are signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def bundle(payload: bytes, signature: bytes, key_id: str) -> bytes:
    """The file: a signature in DER over `pae(payload)`, by the key that `contracts.signing_keys` names `key_id`."""
    envelope = _Envelope(payload=payload, signatures=(_Signature(sig=signature),))
    material = _Material(public_key=_KeyHint(hint=key_id))
    return msgspec.json.encode(_Bundle(verification_material=material, dsse_envelope=envelope))


def opened(data: bytes) -> Opened:
    """What `bundle` was given; raises ValueError for bytes that it never writes."""
    try:
        found = msgspec.json.decode(data, type=_Bundle)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is no signature of a package: {error}") from error
    envelope = found.dsse_envelope
    made = Opened(
        key_id=found.verification_material.public_key.hint,
        payload=envelope.payload,
        signature=envelope.signatures[0].sig,
    )
    if bundle(made.payload, made.signature, made.key_id) != data:
        raise ValueError("it is written in another way than signatures of packages are")
    return made


def digests(payload: bytes) -> dict[str, str]:
    """What `statement` was given, from a payload whose signature was verified; raises ValueError for any other."""
    try:
        found = msgspec.json.decode(payload, type=Signed)
    except msgspec.MsgspecError as error:
        raise ValueError(f"what is signed is no list of files: {error}") from error
    listed = {resource.name: resource.digest for resource in found.predicate.resources}
    if statement(found.subject[0].name, listed) != payload:
        raise ValueError("what is signed is written in another way than lists of files are")
    return listed


def _root(resources: tuple[Resource, ...]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(resource.digest) for resource in resources)).hexdigest()
