"""Commands about deployments; each runs inside the caller's transaction and states the wish on the bus with it."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from contracts import credentials
from contracts.capabilities import require_deployable
from contracts.deployment import (
    ContainerConfig,
    DeploymentConfig,
    EdgePackageConfig,
    PlatformEndpointConfig,
    parse_deployment_config,
)
from contracts.errors import FieldError, ModelportError, Permanent
from contracts.events import DeploymentRequestedV1, DeploymentUpdatedV1
from contracts.events.deployment import Access
from contracts.tiers import TIERS
from contracts.vocabulary import DeploymentStatus, DeploymentType, ExportStatus, Proof, Tier
from gateway.deployment import Command, DeploymentState, command
from gateway.parts import SERVICE
from gateway.requests import require_job, running_trace
from gateway.store import accounts, deployments
from gateway.store.deployments import DeploymentRow, Served
from gateway.store.jobs import JobRow
from servicekit.outbox import put_event
from servicekit.postgres import Connection

HISTORY: dict[Command, str] = {
    Command.DEACTIVATE: "deactivated",
    Command.REACTIVATE: "reactivated",
    Command.DELETE: "deactivated",
}


class NewDeployment(Struct, frozen=True, kw_only=True):
    """What an owner asks for; `config` depends on the type."""

    export_job_id: UUID
    deployment_type: DeploymentType
    name: str
    description: str | None
    config: dict[str, object] | None


async def request_deployment(
    conn: Connection, user_id: UUID, asked: NewDeployment, pepper: str
) -> tuple[DeploymentRow, str | None]:
    """A new deployment, and the API key of an endpoint in clear for this once.

    Raises Permanent: not_found (the export), invalid_request, unsupported, conflict (the export is not completed, or what
    an endpoint would serve is not verified); ModelportError("deployment_limit_reached").
    """
    config = parse_deployment_config(asked.deployment_type, asked.config)
    user = await accounts.lock_user(conn, user_id)
    job = await require_job(conn, user_id, asked.export_job_id)
    _require_ready(job, config)
    if user is not None:
        await _require_room(conn, user_id, user.tier, config)
    is_download = asked.deployment_type is DeploymentType.DOWNLOAD
    key = (
        credentials.mint(credentials.API_KEY_PREFIX)
        if asked.deployment_type is DeploymentType.PLATFORM_ENDPOINT
        else None
    )
    row = _new_row(user_id, asked, config, key, pepper)
    if is_download:
        active = DeploymentStatus.ACTIVE
        state = replace(row.state, status=active, observed_generation=row.state.generation, progress_percent=100.0)
        row = replace(row, state=state, deployed_at=row.created_at)
    await deployments.insert(conn, row)
    if is_download:
        await deployments.add_history(conn, row.id, "deployed", before=DeploymentStatus.PENDING, after=row.state.status)
    elif user is not None:
        await state_wish(conn, row, user.tier, publication=1)
        await state_access(conn, row, user.tier)  # before the model answers, so that a proxy knows whoever comes early
    return row, key


async def change_deployment(conn: Connection, user_id: UUID, deployment_id: UUID, asked: Command) -> DeploymentRow:
    """Deactivate, reactivate or delete; proxies obey at once, the deployer follows.

    Raises Permanent: not_found, conflict; ModelportError("deployment_limit_reached").
    """
    row, tier = await _lock_own(conn, user_id, deployment_id)
    if asked is Command.REACTIVATE:
        await _require_room(conn, user_id, tier, row.config, but=row.id)
    is_download = row.deployment_type is DeploymentType.DOWNLOAD
    after = replace(row, state=command(row.state, asked, instant=is_download))
    await deployments.save(conn, row.id, after.state)
    await deployments.add_history(
        conn,
        row.id,
        HISTORY[asked],
        before=row.state.status,
        after=after.state.status,
        data={"deleted": True} if asked is Command.DELETE else None,
        by=user_id,
    )
    if not is_download:
        await state_wish(conn, after, tier, publication=1)
        await state_access(conn, after, tier)
    return await _reload(conn, row.id)


async def rotate_key(conn: Connection, user_id: UUID, deployment_id: UUID, pepper: str) -> tuple[DeploymentRow, str]:
    """Another API key, in clear for this once; the old one stops working. Permanent: not_found, conflict."""
    row, tier = await _lock_own(conn, user_id, deployment_id)
    if row.deployment_type is not DeploymentType.PLATFORM_ENDPOINT:
        raise Permanent("conflict", f"A deployment of type {row.deployment_type} has no API key.")
    secret = credentials.mint(credentials.API_KEY_PREFIX)
    digest, shown = credentials.digest(secret, pepper), credentials.shown(secret)
    await deployments.set_key(conn, row.id, digest, shown)
    after = replace(row, key_digest=digest, key_shown=shown)
    await _revise(conn, after, tier, {"config_changes": {"api_key": shown}}, user_id)
    return await _reload(conn, row.id), secret


async def change_tier(conn: Connection, user_id: UUID, tier: Tier, by: UUID) -> None:
    """Move a user to another tier; every endpoint of the user obeys its limits at once."""
    await accounts.lock_user(conn, user_id)
    await accounts.set_tier(conn, user_id, tier)
    for row in await deployments.lock_endpoints(conn, user_id):
        await _revise(conn, row, tier, {"config_changes": {"tier": str(tier)}}, by)


async def state_wish(conn: Connection, row: DeploymentRow, tier: Tier, *, publication: int) -> None:
    """Tell the deployer or the packager what should be; `publication` counts how often this generation was stated."""
    served = await deployments.served(conn, row)
    event = _wish(row, served, tier)
    await put_event(conn, event, subject_id=row.id, source=SERVICE, sequence=f"{row.state.generation}.{publication}")


async def state_access(conn: Connection, row: DeploymentRow, tier: Tier) -> None:
    """Tell the proxies who may call an endpoint, and whether anybody may; packages concern no proxy."""
    if row.deployment_type is not DeploymentType.PLATFORM_ENDPOINT:
        return
    event = DeploymentUpdatedV1(
        deployment_id=row.id,
        generation=row.state.generation,
        revision=row.state.revision,
        serving=row.state.is_serving,
        access=_access(row, tier),
    )
    await put_event(conn, event, subject_id=row.id, source=SERVICE, sequence=row.state.revision)


async def require_deployment(conn: Connection, user_id: UUID, deployment_id: UUID) -> DeploymentRow:
    row = await deployments.get(conn, user_id, deployment_id)
    if row is None:
        raise Permanent("not_found", "No such deployment.")
    return row


def _require_ready(job: JobRow, config: DeploymentConfig) -> None:
    field = (FieldError("export_job_id", f"is {job.state.status}"),)
    if job.state.status is not ExportStatus.COMPLETED:
        sentence = f"The export is {job.state.status}; only a completed export can be deployed."
        hint = f"Follow GET /api/v1/export/jobs/{job.id}/events and deploy it when it is completed."
        if job.state.is_terminal:
            hint = f"Export the model again; GET /api/v1/export/jobs/{job.id} tells what became of this one."
        raise Permanent("conflict", sentence, hint=hint, fields=field)
    require_deployable(config, job.export_format)
    if isinstance(config, PlatformEndpointConfig) and job.state.proof is not Proof.VERIFIED:
        sentence = f"The export is {job.state.proof}, not verified: an endpoint serves only what has been proven."
        hint = "Read its report: GET /api/v1/export/jobs/{id}/report. The package can still be downloaded."
        raise Permanent("conflict", sentence, hint=hint, fields=(FieldError("export_job_id", "is not verified"),))


async def _require_room(
    conn: Connection, user_id: UUID, tier: Tier, config: DeploymentConfig, *, but: UUID | None = None
) -> None:
    """Whether the tier serves or keeps this too; the user's row is held, so that no two requests pass together."""
    if isinstance(config, EdgePackageConfig | ContainerConfig):
        await _require_packages(conn, user_id, tier, but)
    if not isinstance(config, PlatformEndpointConfig):
        return
    allowed, running = TIERS[tier].served_instances, await deployments.served_instances(conn, user_id, but=but)
    if running + config.instances > allowed:
        sentence = f"{running} instances are served, the {tier} tier allows {allowed} at a time."
        raise ModelportError("deployment_limit_reached", sentence)


async def _require_packages(conn: Connection, user_id: UUID, tier: Tier, but: UUID | None) -> None:
    limits, found = TIERS[tier], await deployments.packages(conn, user_id, but=but)
    if found.kept >= limits.packages:
        sentence = f"{found.kept} edge and container packages are kept, the {tier} tier allows {limits.packages}."
        hint = "Delete one that is not needed any more: it can be built again from its export."
        raise ModelportError("deployment_limit_reached", sentence, hint=hint)
    if found.building >= limits.concurrent_exports:
        sentence = (
            f"{found.building} packages are being built, the {tier} tier allows {limits.concurrent_exports} at a time."
        )
        raise ModelportError("deployment_limit_reached", sentence, hint="Wait for one of them to finish.")


def _new_row(
    user_id: UUID, asked: NewDeployment, config: DeploymentConfig, key: str | None, pepper: str
) -> DeploymentRow:
    now = datetime.now(UTC)
    trace_id, traceparent = running_trace()
    return DeploymentRow(
        id=uuid4(),
        export_job_id=asked.export_job_id,
        user_id=user_id,
        deployment_type=asked.deployment_type,
        name=asked.name,
        description=asked.description,
        config=config,
        trace_id=trace_id,
        traceparent=traceparent,
        key_digest=credentials.digest(key, pepper) if key else None,
        key_shown=credentials.shown(key) if key else None,
        request_count=0,
        error_count=0,
        total_inference_time_ms=0,
        last_request_at=None,
        requests=1,
        created_at=now,
        deployed_at=None,
        deactivated_at=None,
        updated_at=now,
        state=DeploymentState(),
    )


def _access(row: DeploymentRow, tier: Tier) -> Access:
    return Access(user_id=row.user_id, tier=tier, key_digests=(row.key_digest,) if row.key_digest else ())


def _wish(row: DeploymentRow, served: Served, tier: Tier) -> DeploymentRequestedV1:
    return DeploymentRequestedV1(
        deployment_id=row.id,
        export_job_id=row.export_job_id,
        generation=row.state.generation,
        desired=row.state.desired,
        deployment_type=row.deployment_type,
        name=row.name,
        config=row.config,
        export_format=served.export_format,
        model_version=served.version,
        model=served.model,
        metadata=served.metadata,
        access=_access(row, tier),
    )


async def _revise(conn: Connection, row: DeploymentRow, tier: Tier, data: dict[str, object], by: UUID) -> None:
    after = replace(row, state=replace(row.state, revision=row.state.revision + 1))
    status = row.state.status
    await deployments.save(conn, row.id, after.state)
    await deployments.add_history(conn, row.id, "updated", before=status, after=status, data=to_builtins(data), by=by)
    await state_access(conn, after, tier)


async def _lock_own(conn: Connection, user_id: UUID, deployment_id: UUID) -> tuple[DeploymentRow, Tier]:
    """The deployment and its owner's tier, both held; users are locked before deployments everywhere."""
    user = await accounts.lock_user(conn, user_id)
    row = await deployments.lock(conn, deployment_id)
    if user is None or row is None or row.user_id != user_id or row.is_deleted:
        raise Permanent("not_found", "No such deployment.")
    return row, user.tier


async def _reload(conn: Connection, deployment_id: UUID) -> DeploymentRow:
    row = await deployments.lock(conn, deployment_id)
    if row is None:
        raise LookupError("the row is held by this very transaction")
    return row
