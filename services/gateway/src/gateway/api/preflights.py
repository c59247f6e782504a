"""/api/v1/export/preflight: what would become of a checkpoint in every format, before anybody waits."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import Struct

from contracts.errors import FieldError, Permanent
from contracts.vocabulary import ExportFormat
from gateway import once, preflights
from gateway.api.common import READ, WRITE, Config, Id, IdempotencyKey, Sender, Wired
from gateway.resources import Preflight
from gateway.store import trainings
from servicekit.postgres import Connection

PATH = "/api/v1/export/preflight"
ANSWERS = f"{PATH}s"
_LATER = ResponseSpec(
    data_container=Preflight, description="Not answered yet; Location tells where to ask.", generate_examples=False
)
_WRITE: dict[str, Any] = {**WRITE, "responses": {202: _LATER, **WRITE["responses"]}}


class NewPreflight(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/export/preflight: the fields of POST /api/v1/export/jobs; without a format all of them with their defaults."""

    training_job_id: UUID
    export_format: ExportFormat | None = None
    export_config: Config | None = None
    optimization_config: Config | None = None


class Begun(Struct, frozen=True, kw_only=True):
    """What is kept for an Idempotency-Key: the answer is looked up anew each time."""

    preflight_id: UUID


@post(PATH, status_code=200, **_WRITE)
async def create_preflight(
    parts: Wired, caller: Sender, data: JSONBody[NewPreflight], idempotency_key: IdempotencyKey = None
) -> Response[Preflight]:
    """Foresee what an export of this training's checkpoint would become in every format; 202 with a Location where it takes long."""
    wishes = preflights.Wishes.read(data.export_format, data.export_config, data.optimization_config)

    async def effect(conn: Connection) -> Begun:
        training = await trainings.get(conn, caller.user_id, data.training_job_id)
        if training is None:
            field = FieldError("training_job_id", "there is no such training")
            raise Permanent("not_found", "No such training.", fields=(field,))
        return Begun(preflight_id=(await preflights.request(conn, training, wishes)).id)

    made = await once.perform(parts, caller, effect, path=PATH, key=idempotency_key, body=data)
    begun = msgspec.convert(msgspec.json.decode(msgspec.json.encode(made.content)), Begun)
    row = await preflights.answered(parts, caller.user_id, begun.preflight_id, parts.settings.preflight_wait_s)
    headers = {name: value for name, value in made.headers.items() if name == once.REPLAYED}
    if row.answered_at is None:
        headers |= {"Location": f"{ANSWERS}/{row.id}", "Retry-After": "1"}
    status = 200 if row.answered_at else 202
    return Response(await preflights.shown(parts, row), status_code=status, headers=headers)


@get(f"{ANSWERS}/{{preflight_id:uuid}}", **READ)
async def get_preflight(parts: Wired, caller: Sender, preflight_id: Id) -> Preflight:
    """A preflight with what it has foreseen so far, and what live workers can do now."""
    return await preflights.shown(parts, await preflights.answered(parts, caller.user_id, preflight_id))


ROUTES: Sequence[HTTPRouteHandler] = (create_preflight, get_preflight)
