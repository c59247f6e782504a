"""Cursor pages: newest first, stable while rows are added, no offset."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from contracts.errors import FieldError, Permanent
from servicekit.postgres import Connection, Pool

T = TypeVar("T")
MAX_CURSOR = 200


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """`next_cursor` goes into the next request's `cursor`; null on the last page."""

    items: list[T]
    next_cursor: str | None = None
    has_more: bool = False


class Query(Struct, frozen=True, kw_only=True):
    """What to list: columns that must equal a value (None: any), and where to go on."""

    filters: Mapping[str, object]
    limit: int = 50
    cursor: str | None = None


class _Position(Struct, frozen=True, array_like=True):
    created_at: datetime
    id: UUID


async def fetch(
    conn: Connection | Pool, select: str, query: Query, read: Callable[[asyncpg.Record], T], *, fixed: str = "true"
) -> Page[T]:
    """One page of `select` (a statement up to its WHERE); `fixed` is a condition that holds always.

    Raises Permanent("invalid_request") for a cursor that no page has answered.
    """
    conditions, values = [fixed], []
    for column, value in query.filters.items():
        if value is not None:
            values.append(value)
            conditions.append(f"{column} = ${len(values)}")
    if query.cursor:
        position = _decode(query.cursor)
        values += [position.created_at, position.id]
        conditions.append(f"(created_at, id) < (${len(values) - 1}, ${len(values)})")
    values.append(query.limit + 1)
    sql = f"{select} WHERE {' AND '.join(conditions)} ORDER BY created_at DESC, id DESC LIMIT ${len(values)}"
    records = await conn.fetch(sql, *values)
    shown, has_more = records[: query.limit], len(records) > query.limit
    cursor = _encode(_Position(shown[-1]["created_at"], shown[-1]["id"])) if has_more else None
    return Page(items=[read(record) for record in shown], next_cursor=cursor, has_more=has_more)


def _encode(position: _Position) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def _decode(cursor: str) -> _Position:
    try:
        if len(cursor) > MAX_CURSOR:
            raise ValueError(cursor)
        padded = cursor + "=" * (-len(cursor) % 4)
        position = msgspec.json.decode(base64.urlsafe_b64decode(padded.encode("ascii")), type=_Position)
        if position.created_at.tzinfo is None:
            raise ValueError(cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        message = "is not a cursor that a page has answered"
        raise Permanent("invalid_request", f"cursor {message}.", fields=(FieldError("cursor", message),)) from error
    return position
