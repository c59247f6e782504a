"""/api/v1/dead-letters: what no service could handle, why, and trying it again; for administrators."""

from collections.abc import Sequence
from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from contracts.errors import FieldError, Permanent
from gateway import once, replays
from gateway.api.common import ADMIN, Cursor, IdempotencyKey, Limit, Sender, Wired
from gateway.replays import Replayed
from gateway.store.pages import Page
from servicekit import dead_letters
from servicekit.dead_letters import DeadLetter
from servicekit.postgres import Connection

PATH = "/api/v1/dead-letters"


class DeadLetterPage(Page[DeadLetter], frozen=True, kw_only=True):
    """A page of dead letters."""


@get(PATH, **ADMIN)
async def list_dead_letters(parts: Wired, limit: Limit = 50, cursor: Cursor = None) -> DeadLetterPage:
    """Messages of the bus that a service gave up, newest first, such as a training event of an unknown user."""
    found = await dead_letters.newest(parts.bus.jetstream, limit + 1, _before(cursor))
    shown, has_more = found[:limit], len(found) > limit
    return DeadLetterPage(items=shown, next_cursor=str(shown[-1].sequence) if has_more else None, has_more=has_more)


@post(f"{PATH}/{{sequence:int}}/replay", status_code=202, **ADMIN)
async def replay_dead_letter(
    parts: Wired,
    caller: Sender,
    sequence: Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="`sequence` of the dead letter.")],
    idempotency_key: IdempotencyKey = None,
) -> Response[Replayed]:
    """Try a dead letter again and take it from the list.

    A failed export or deployment is requested once more, any other message is delivered again. What can never be handled,
    or is not failed any more, is refused and stays.
    """

    async def effect(conn: Connection) -> Replayed:
        return await replays.replay(conn, parts, sequence)

    path = f"{PATH}/{sequence}/replay"
    answer = await once.perform(parts, caller, effect, path=path, key=idempotency_key, body=None, status=202)
    await dead_letters.remove(parts.bus.jetstream, sequence)
    return answer


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
        message = "is not a cursor that a page has answered"
        raise Permanent("invalid_request", f"cursor {message}.", fields=(FieldError("cursor", message),))
    return int(cursor)


ROUTES: Sequence[HTTPRouteHandler] = (list_dead_letters, replay_dead_letter)
