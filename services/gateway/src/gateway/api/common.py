"""What the routes share: scopes, paging and the header of idempotency."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from msgspec import Meta

from contracts.vocabulary import Scope
from gateway.parts import Parts
from gateway.store.accounts import Caller
from servicekit.http import PROBLEM_JSON, Problem

_PROBLEMS = {
    400: "A field or parameter is wrong; `errors` names each.",
    401: "No valid bearer token.",
    403: "The token lacks the scope.",
    404: "There is no such thing, or it is somebody else's.",
    429: "Too many requests, or a limit of the user's tier is reached.",
    503: "Something behind the gateway does not answer.",
}
_REFUSALS = {
    409: "The state of things, or a request still running, forbids it.",
    422: "It is understood but cannot be done; `hint` says what can.",
}


def route(scope: Scope, problems: Mapping[int, str]) -> dict[str, Any]:
    """What every route declares: the scope it needs, and its problems for the documentation."""
    responses = {
        status: ResponseSpec(data_container=Problem, description=text, media_type=PROBLEM_JSON, generate_examples=False)
        for status, text in problems.items()
    }
    return {"opt": {"scope": scope}, "security": [{"bearer": [str(scope)]}], "responses": responses}


def answering(declared: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """The same route, whose streamed answer is JSON of this type."""
    streamed = ResponseSpec(data_container=answer, description="Streamed.", generate_examples=False)
    return {**declared, "responses": {200: streamed, **declared["responses"]}}


SSE_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def begun(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, of which the first is there already: what refuses to begin is still answered as a problem."""
    first = await anext(content, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in content:
            yield piece

    return whole()


READ = route(Scope.READ, _PROBLEMS)
BODY_BYTES = 64 << 10
"""What is stored of a body is read by the page: see MAX_PAGE."""
WRITE = route(Scope.WRITE, _PROBLEMS | _REFUSALS) | {"request_max_body_size": BODY_BYTES}
ADMIN = route(Scope.ADMIN, _PROBLEMS | _REFUSALS) | {"request_max_body_size": BODY_BYTES}

MAX_PAGE = 200

Wired = NamedDependency[Parts]
Sender = NamedDependency[Caller]
Id = FromPath[UUID]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Items on a page.")]
Cursor = Annotated[str | None, QueryParameter(description="`next_cursor` of the page before.")]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same key and body are answered with the first answer, for 24 hours.",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
VersionTag = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Config = dict[str, object]
