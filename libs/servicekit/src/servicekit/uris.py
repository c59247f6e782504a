"""`s3://` URIs of our bucket: the only form in which users and services name objects."""

import unicodedata
from urllib.parse import unquote

from contracts.errors import FieldError, Permanent


def uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"


def parse_uri(uri: str, bucket: str, field: str = "checkpoint_path") -> str:
    """The key of `s3://<bucket>/<key>`; Permanent `invalid_uri` naming `field` for anything else.

    No part of the key may climb, also not for a reader that decodes percent signs, folds look-alike letters or drops dots.
    """
    start = f"s3://{bucket}/"
    key = uri.removeprefix(start)
    parts = key.split("/")
    is_ours = uri.startswith(start) and 0 < len(key) <= 1024 and key.isprintable()
    if not is_ours or any(map(_climbs, parts)):
        sentence = f"{field} must be {start}<key>, an object of this platform"
        raise Permanent("invalid_uri", sentence, fields=(FieldError(field, f"must look like {start}<key>"),))
    return key


def _climbs(part: str) -> bool:
    plain = unicodedata.normalize("NFKC", unquote(unquote(part)))
    return not plain.strip(". ") or "/" in plain or "\\" in plain or not plain.isprintable()
