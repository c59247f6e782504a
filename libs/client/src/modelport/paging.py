"""Lists of the REST API, page after page."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TypeVar

from modelport.models import Page
from modelport.transport import Transport

T = TypeVar("T")
MAX_PAGE = 200


def everything(
    transport: Transport,
    path: str,
    page: type[Page[T]],
    *,
    query: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Iterator[T]:
    """The items of a list in the server's order, at most `limit`; the next page is asked for when it is needed."""
    size = {"limit": str(min(limit, MAX_PAGE))} if limit else {}
    return islice(_pages(transport, path, page, {**(query or {}), **size}), limit)


def _pages(transport: Transport, path: str, page: type[Page[T]], query: dict[str, str]) -> Iterator[T]:
    while True:
        answer = transport.call("GET", path, page, query=query)
        yield from answer.items
        if not answer.next_cursor:
            return
        query["cursor"] = answer.next_cursor
