"""/api/v1/dead-letters: what no service could handle, and why; for administrators."""

from collections.abc import Sequence

from litestar import get
from litestar.handlers import HTTPRouteHandler

from contracts.errors import FieldError, Permanent
from gateway.api.common import ADMIN, Cursor, Limit, Wired
from gateway.store.pages import Page
from servicekit import dead_letters
from servicekit.dead_letters import DeadLetter


class DeadLetterPage(Page[DeadLetter], frozen=True, kw_only=True):
    """A page of dead letters."""


@get("/api/v1/dead-letters", **ADMIN)
async def list_dead_letters(parts: Wired, limit: Limit = 50, cursor: Cursor = None) -> DeadLetterPage:
    """Messages of the bus that a service gave up, newest first, such as a training event of an unknown user."""
    found = await dead_letters.newest(parts.bus.jetstream, limit + 1, _before(cursor))
    shown, has_more = found[:limit], len(found) > limit
    return DeadLetterPage(items=shown, next_cursor=str(shown[-1].sequence) if has_more else None, has_more=has_more)


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
        message = "is not a cursor that a page has answered"
        raise Permanent("invalid_request", f"cursor {message}.", fields=(FieldError("cursor", message),))
    return int(cursor)


ROUTES: Sequence[HTTPRouteHandler] = (list_dead_letters,)
