"""The S3 client's errors in the words of the contracts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from contracts.errors import Permanent, Transient

_MISSING = {"NoSuchKey", "NoSuchBucket", "NotFound", "404"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


@asynccontextmanager
async def in_our_words(what: str) -> AsyncIterator[None]:
    """Permanent `object_missing` or `conflict`, Transient `unavailable` for all else; `what` is the key or bucket."""
    from aiohttp import ClientError as HttpClientError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        _translate(error, what)
    except (BotoCoreError, HttpClientError, ConnectionError, TimeoutError) as error:
        raise Transient("unavailable", f"object storage does not answer: {type(error).__name__}") from error


def _translate(error: Any, what: str) -> NoReturn:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _MISSING:
        raise Permanent("object_missing", f"there is no object {what}") from error
    if code in _TAKEN:
        raise Permanent("conflict", f"the object {what} exists already") from error
    raise Transient("unavailable", f"object storage answered {code or 'an error'} for {what}") from error
