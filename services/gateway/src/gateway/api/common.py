"""What the routes share: scopes, paging and the header of idempotency."""

from typing import Annotated

from contracts.vocabulary import Scope
from litestar.params import Parameter
from msgspec import Meta

READ = {"scope": Scope.READ}
WRITE = {"scope": Scope.WRITE}
ADMIN = {"scope": Scope.ADMIN}

MAX_PAGE = 200

Limit = Annotated[int, Parameter(ge=1, le=MAX_PAGE, description="Items on a page.")]
Cursor = Annotated[str | None, Parameter(description="`next_cursor` of the page before.")]
IdempotencyKey = Annotated[
    str | None,
    Parameter(
        header="Idempotency-Key",
        description="The same key and body are answered with the first answer, for 24 hours.",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
VersionTag = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Config = dict[str, object]
