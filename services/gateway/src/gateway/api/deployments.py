"""/api/v1/deployments: packages to download, for devices and for containers, and live endpoints."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, JSONBody
from litestar.response import Stream
from msgspec import Meta, Struct

from contracts import keys
from contracts.deployment import CONFIGS, ContainerConfig, DownloadConfig, EdgePackageConfig
from contracts.errors import Permanent
from contracts.vocabulary import DeploymentStatus, DeploymentType, TargetPlatform
from gateway import deployment_requests as requests
from gateway import once, progress, resources
from gateway.api.common import (
    READ,
    SSE_HEADERS,
    WRITE,
    Config,
    Cursor,
    Id,
    IdempotencyKey,
    Limit,
    Name,
    Sender,
    Wired,
    begun,
)
from gateway.deployment import Command
from gateway.parts import Parts
from gateway.resources import DeploymentPage, DeploymentTarget, DeploymentUsage, Download, HistoryPage
from gateway.store import accounts, deployments
from gateway.store.accounts import Caller
from gateway.store.deployments import DeploymentRow, Served
from gateway.store.pages import Query
from servicekit.postgres import Connection, transaction

PATH = "/api/v1/deployments"
EDGE_NAMES = dict.fromkeys((TargetPlatform.IOS, TargetPlatform.ANDROID), "mobile-package")
"""The design's word for packages of phones."""
CONTAINER_PACKAGE = "container-package.zip"
HINTS = {
    DeploymentStatus.PENDING: "It is about to be built: ask again once GET /api/v1/deployments/{id} says active.",
    DeploymentStatus.DEPLOYING: "It is being built: ask again once GET /api/v1/deployments/{id} says active.",
    DeploymentStatus.ACTIVE: "Reactivate it: POST /api/v1/deployments/{id}/reactivate.",
    DeploymentStatus.INACTIVE: "Reactivate it first: POST /api/v1/deployments/{id}/reactivate.",
    DeploymentStatus.FAILED: "GET /api/v1/deployments/{id} says under `error` why; POST …/reactivate tries again.",
}
"""What to do about a package that cannot be fetched now."""


_FIELDS = (
    f"{kind}: {', '.join(config.__struct_fields__)}" for kind, config in CONFIGS.items() if config is not DownloadConfig
)
CONFIG_HELP = f"""What can be chosen, by type: {"; ".join(_FIELDS)}. An edge package needs its target_platform: {", ".join(TargetPlatform)}."""


class NewDeployment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/deployments; `config` depends on the type."""

    export_job_id: UUID
    deployment_type: DeploymentType
    name: Name
    description: Annotated[str, Meta(max_length=1000)] | None = None
    config: Annotated[Config | None, Meta(description=CONFIG_HELP)] = None


@post(PATH, **WRITE)
async def create_deployment(
    parts: Wired, caller: Sender, data: JSONBody[NewDeployment], idempotency_key: IdempotencyKey = None
) -> Response[DeploymentTarget]:
    """Deploy a completed export. The answer carries the `api_key` of an endpoint; no other answer does."""

    async def effect(conn: Connection) -> DeploymentTarget:
        asked = requests.NewDeployment(
            export_job_id=data.export_job_id,
            deployment_type=data.deployment_type,
            name=data.name,
            description=data.description,
            config=data.config,
        )
        row, key = await requests.request_deployment(conn, caller.user_id, asked, parts.settings.key_pepper)
        return await _answer(conn, parts, row, api_key=key)

    return await once.perform(parts, caller, effect, path=PATH, key=idempotency_key, body=data)


@get(PATH, **READ)
async def list_deployments(
    parts: Wired,
    caller: Sender,
    export_job_id: FromQuery[UUID | None] = None,
    status: FromQuery[DeploymentStatus | None] = None,
    deployment_type: FromQuery[DeploymentType | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeploymentPage:
    """Deployments that were not deleted, newest first."""
    filters = {
        "user_id": caller.user_id,
        "export_job_id": export_job_id,
        "status": status,
        "deployment_type": deployment_type,
    }
    async with parts.pool.acquire() as conn:
        page = await deployments.page(conn, Query(filters=filters, limit=limit, cursor=cursor))
        links = await _links(conn, parts, page.items)
        items = [_resource(parts, row, links.get(row.id)) for row in page.items]
    return DeploymentPage(items=items, next_cursor=page.next_cursor, has_more=page.has_more)


@get(f"{PATH}/{{deployment_id:uuid}}", **READ)
async def get_deployment(parts: Wired, caller: Sender, deployment_id: Id) -> DeploymentTarget:
    """One deployment."""
    async with parts.pool.acquire() as conn:
        row = await requests.require_deployment(conn, caller.user_id, deployment_id)
        return await _answer(conn, parts, row)


@delete(f"{PATH}/{{deployment_id:uuid}}", **WRITE)
async def delete_deployment(parts: Wired, caller: Sender, deployment_id: Id) -> None:
    """Stop serving at once, unload the model and remove its served copy, or the package; the export stays."""
    async with transaction(parts.pool) as conn:
        await requests.change_deployment(conn, caller.user_id, deployment_id, Command.DELETE)


@post(f"{PATH}/{{deployment_id:uuid}}/deactivate", status_code=200, **WRITE)
async def deactivate_deployment(parts: Wired, caller: Sender, deployment_id: Id) -> DeploymentTarget:
    """Stop serving at once and unload the model; a package is kept, but cannot be fetched."""
    return await _change(parts, caller, deployment_id, Command.DEACTIVATE)


@post(f"{PATH}/{{deployment_id:uuid}}/reactivate", status_code=200, **WRITE)
async def reactivate_deployment(parts: Wired, caller: Sender, deployment_id: Id) -> DeploymentTarget:
    """Load the model or build the package again, also after a failure; it can be used once its status is active."""
    return await _change(parts, caller, deployment_id, Command.REACTIVATE)


@post(f"{PATH}/{{deployment_id:uuid}}/rotate-key", status_code=200, **WRITE)
async def rotate_deployment_key(
    parts: Wired, caller: Sender, deployment_id: Id, idempotency_key: IdempotencyKey = None
) -> Response[DeploymentTarget]:
    """A new `api_key`, shown only here; the old one stops working within a second."""

    async def effect(conn: Connection) -> DeploymentTarget:
        row, key = await requests.rotate_key(conn, caller.user_id, deployment_id, parts.settings.key_pepper)
        return await _answer(conn, parts, row, api_key=key)

    path = f"{PATH}/{deployment_id}/rotate-key"
    return await once.perform(parts, caller, effect, path=path, key=idempotency_key, body=None, status=200)


@get(f"{PATH}/{{deployment_id:uuid}}/history", **READ)
async def get_deployment_history(parts: Wired, caller: Sender, deployment_id: Id) -> HistoryPage:
    """Everything that has happened to a deployment, oldest first."""
    async with parts.pool.acquire() as conn:
        await requests.require_deployment(conn, caller.user_id, deployment_id)
        return HistoryPage(items=await deployments.history(conn, deployment_id))


@get(f"{PATH}/{{deployment_id:uuid}}/events", media_type="text/event-stream", **READ)
async def follow_deployment(parts: Wired, caller: Sender, deployment_id: Id) -> Stream:
    """What the deployment is, whenever that changes, as server-sent events until it has settled.

    Events: pending, deploying, active, inactive, failed; of what came before, the newest alone is sent.
    """
    async with parts.pool.acquire() as conn:
        await requests.require_deployment(conn, caller.user_id, deployment_id)

    async def look() -> progress.State | None:
        row = await deployments.get(parts.pool, caller.user_id, deployment_id)
        if row is None:
            return None
        is_settled = row.state.status not in (DeploymentStatus.PENDING, DeploymentStatus.DEPLOYING)
        return progress.State(name=row.state.status, data=resources.deployment_progress(row), is_settled=is_settled)

    content = progress.states(parts.progress, deployment_id, look, keepalive_s=parts.settings.keepalive_s)
    place = parts.limits.stream(caller.user_id, caller.tier)
    permitted = progress.permitted(content, place, lambda: accounts.is_valid(parts.pool, caller.token_id))
    return Stream(await begun(permitted), media_type="text/event-stream", headers=SSE_HEADERS)


@get(f"{PATH}/{{deployment_id:uuid}}/usage", **READ)
async def get_deployment_usage(parts: Wired, caller: Sender, deployment_id: Id) -> DeploymentUsage:
    """Answered requests and their time since the deployment was made."""
    async with parts.pool.acquire() as conn:
        row = await requests.require_deployment(conn, caller.user_id, deployment_id)
    return DeploymentUsage(
        deployment_id=row.id,
        request_count=row.request_count,
        error_count=row.error_count,
        last_request_at=row.last_request_at,
        total_inference_time_ms=row.total_inference_time_ms,
    )


@get(f"{PATH}/{{deployment_id:uuid}}/download", **READ)
async def get_deployment_download(parts: Wired, caller: Sender, deployment_id: Id) -> Download:
    """A presigned link to the deployment's own package, or of an endpoint to the package of its export."""
    async with parts.pool.acquire() as conn:
        row = await requests.require_deployment(conn, caller.user_id, deployment_id)
        if row.deployment_type is not DeploymentType.PLATFORM_ENDPOINT and not _is_open(row):
            raise Permanent("conflict", f"The package is {row.state.status}.", hint=HINTS[row.state.status])
        return await _sign(parts, row, await deployments.served(conn, row))


ROUTES: Sequence[HTTPRouteHandler] = (
    create_deployment,
    list_deployments,
    get_deployment,
    delete_deployment,
    deactivate_deployment,
    reactivate_deployment,
    rotate_deployment_key,
    get_deployment_history,
    follow_deployment,
    get_deployment_usage,
    get_deployment_download,
)


async def _change(parts: Wired, caller: Caller, deployment_id: UUID, command: Command) -> DeploymentTarget:
    async with transaction(parts.pool) as conn:
        row = await requests.change_deployment(conn, caller.user_id, deployment_id, command)
        return await _answer(conn, parts, row)


async def _answer(
    conn: Connection, parts: Parts, row: DeploymentRow, *, api_key: str | None = None
) -> DeploymentTarget:
    return _resource(parts, row, (await _links(conn, parts, [row])).get(row.id), api_key=api_key)


def _resource(
    parts: Parts, row: DeploymentRow, link: Download | None, *, api_key: str | None = None
) -> DeploymentTarget:
    url = None
    if row.deployment_type is DeploymentType.PLATFORM_ENDPOINT:
        url = f"{parts.settings.proxy_public_url.rstrip('/')}/v1/infer/{row.id}"
    return resources.deployment_target(row, url, parts.objects.bucket, link=link, api_key=api_key)


async def _links(conn: Connection, parts: Parts, rows: Sequence[DeploymentRow]) -> dict[UUID, Download]:
    """Links to the packages among the deployments, but for those that are not built yet or were deactivated."""
    open_ones = [row for row in rows if row.deployment_type is not DeploymentType.PLATFORM_ENDPOINT and _is_open(row)]
    served = await deployments.served_by(conn, open_ones)
    return {row.id: await _sign(parts, row, served[row.id]) for row in open_ones}


def _is_open(row: DeploymentRow) -> bool:
    """Whether there is something to fetch."""
    has_package = row.state.package is not None or not row.deployment_type.is_built
    return row.state.status is DeploymentStatus.ACTIVE and has_package


async def _sign(parts: Parts, row: DeploymentRow, served: Served) -> Download:
    """Signed here, without asking the store."""
    ttl = parts.settings.download_ttl_s
    package, filename = row.state.package or served.package, _filename(row, served)
    expires_at = datetime.now(UTC) + timedelta(seconds=ttl)
    return Download(
        download_url=await parts.objects.presign_get(package.key, int(ttl), filename),
        expires_at=expires_at,
        filename=filename,
        sha256=package.sha256,
        size_bytes=package.size_bytes,
    )


def _filename(row: DeploymentRow, served: Served) -> str:
    """What a browser calls the package; the model's name is a stranger's."""
    if isinstance(row.config, EdgePackageConfig):
        kind = EDGE_NAMES.get(row.config.target_platform, f"edge-package-{row.config.target_platform}")
        return f"vision-ai-{kind}-{row.export_job_id}.zip".replace("_", "-")
    package = CONTAINER_PACKAGE if isinstance(row.config, ContainerConfig) else keys.PACKAGE
    return f"{served.metadata.model_info.model_name}-v{served.version}-{package}".replace("/", "_")
