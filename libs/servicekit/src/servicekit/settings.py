"""Reads a service's settings from the environment: `MODELPORT_<FIELD>` into a frozen Struct, all problems told at once."""

import os
import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from contracts.errors import FieldError, Permanent

PREFIX = "MODELPORT_"

T = TypeVar("T", bound=msgspec.Struct)

_SECRET = re.compile(r"key|secret|token|dsn|pepper|password", re.IGNORECASE)
_COLLECTIONS = (list, tuple, set, frozenset)
_EXAMPLES = {
    "nats_url": "such as nats://127.0.0.1:4222",
    "postgres_dsn": "such as postgresql://user:password@127.0.0.1:5432/modelport",
    "s3_endpoint": "such as http://127.0.0.1:8333",
    "s3_public_endpoint": "the S3 address that clients reach, such as https://s3.example.org",
    "port": "a free TCP port from 1 to 65535",
}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


class _Mixing(msgspec.StructMeta):
    """Lets a Struct of settings inherit from several others.

    Structs have fixed layouts, which Python refuses to combine: the fields of all bases are gathered into one Struct.
    """

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> "_Mixing":
        if len(bases) > 1:
            kinds: dict[str, Any] = {}
            for base in reversed(bases):
                for field in msgspec.structs.fields(base):
                    kinds[field.name] = field.type
                    if not field.required:
                        default = {"default": field.default, "default_factory": field.default_factory}
                        namespace.setdefault(field.name, msgspec.field(**default))
            namespace["__annotations__"] = kinds | namespace.get("__annotations__", {})
            bases = (Settings,)
        made: _Mixing = super().__new__(mcs, name, bases, namespace, **{"frozen": True, "kw_only": True, **config})
        return made


class Settings(msgspec.Struct, frozen=True, kw_only=True, metaclass=_Mixing):
    """Base of everything that `load` fills; subclasses are frozen and keyword-only, and may have several bases."""


class BusSettings(Settings, frozen=True, kw_only=True):
    """The address of NATS."""

    nats_url: str


class PostgresSettings(Settings, frozen=True, kw_only=True):
    """The database, with user and password in the DSN."""

    postgres_dsn: str


class S3Settings(Settings, frozen=True, kw_only=True):
    """Object storage; presigned URLs carry `s3_public_endpoint` where it differs from the inner address."""

    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    s3_public_endpoint: str = ""
    s3_bucket: str = "vision-platform"
    s3_region: str = "us-east-1"


class HttpSettings(Settings, frozen=True, kw_only=True):
    """Where the service listens; the port has no default because each service has its own."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    host: str = "127.0.0.1"


def load(cls: type[T], environ: Mapping[str, str] = os.environ) -> T:
    """Fill `cls` from `MODELPORT_<FIELD>`; an empty variable counts as not set; sequences are comma separated.

    Raises Permanent `invalid_settings` that names every variable at fault, its value (masked for secrets) and what works.
    """
    values: dict[str, Any] = {}
    problems: list[FieldError] = []
    for field in msgspec.structs.fields(cls):
        variable = PREFIX + field.name.upper()
        text = environ.get(variable, "")
        if not text:
            if field.required:
                problems.append(FieldError(variable, f"is not set; give it {_wanted(field.name, field.type)}"))
            continue
        try:
            values[field.name] = _convert(text, field.type)
        except msgspec.ValidationError as error:
            shown = "***" if _SECRET.search(field.name) else text
            reason = f"{shown!r} does not fit ({error}); give it {_wanted(field.name, field.type)}"
            problems.append(FieldError(variable, reason))
    if not problems:
        try:
            return cls(**values)
        except ValueError as error:
            problems.append(FieldError(f"{PREFIX}*", str(error)))
    sentence = "; ".join(f"{problem.field} {problem.message}" for problem in problems)
    raise Permanent("invalid_settings", sentence, fields=tuple(problems))


def _convert(text: str, kind: Any) -> Any:
    if get_origin(_bare(kind)) in _COLLECTIONS or _bare(kind) in _COLLECTIONS:
        return msgspec.convert([part.strip() for part in text.split(",") if part.strip()], kind, strict=False)
    return msgspec.convert(text, kind, strict=False)


def _bare(kind: Any) -> Any:
    """The type below Annotated and Optional."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        inner = [part for part in get_args(kind) if part is not NoneType]
        return _bare(inner[0]) if len(inner) == 1 else kind
    return kind


def _wanted(name: str, kind: Any) -> str:
    bare = _bare(kind)
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(bare))
    if get_origin(bare) in _COLLECTIONS:
        return "a comma separated list"
    return _WORDS.get(bare, "a value of type " + getattr(bare, "__name__", str(bare)))
