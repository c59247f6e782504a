"""Preflights: which wishes go to a worker, what is refused before, and the answer that both make together."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

from msgspec import Struct
from msgspec.structs import replace

from contracts.capabilities import WorkerAnnouncement, require_supported
from contracts.errors import ErrorInfo, ModelportError, Permanent
from contracts.events import PreflightRequestedV1
from contracts.export_options import FLAVOR_ROUTES, ExportOptions, export_route, parse_export_options
from contracts.optimization import OptimizationConfig, ValidationConfig, parse_optimization
from contracts.precision import PRECISIONS
from contracts.preflight import Forecast
from contracts.tiers import TIERS
from contracts.vocabulary import ExportFormat
from gateway import workers
from gateway.parts import SERVICE, Parts
from gateway.resources import Preflight
from gateway.store import accounts, preflights
from gateway.store.preflights import PreflightRow
from gateway.store.trainings import TrainingJob
from servicekit.outbox import put_event
from servicekit.postgres import Connection

Config = dict[str, object]


class Wishes(Struct, frozen=True, kw_only=True):
    """The options of every format, and what `optimization` is for: all of them, or `export_format` alone."""

    options: tuple[ExportOptions, ...]
    export_format: ExportFormat | None
    optimization: OptimizationConfig

    @classmethod
    def read(
        cls, export_format: ExportFormat | None, export_config: Config | None, optimization: Config | None
    ) -> "Wishes":
        """Every format with its defaults, but the asked one with what was asked; Permanent("invalid_request") names the field."""
        if export_format is None and export_config is not None:
            raise Permanent(
                "invalid_request", "export_config: needs export_format.", hint="Say which format the options are of."
            )
        configs = {export_format: export_config}
        return cls(
            options=tuple(parse_export_options(name, configs.get(name)) for name in ExportFormat),
            export_format=export_format,
            optimization=parse_optimization(optimization),
        )

    def optimization_of(self, options: ExportOptions) -> OptimizationConfig:
        return self.optimization if self.export_format in {None, format_of(options)} else OptimizationConfig()


async def request(conn: Connection, training: TrainingJob, wishes: Wishes) -> PreflightRow:
    """A new preflight; what is refused by name needs no worker.

    Raises ModelportError("export_limit_reached") while too many of the user's are unanswered.
    """
    user = await accounts.lock_user(conn, training.user_id)
    if user is None:
        raise Permanent("not_found", "No such user.")
    allowed = TIERS[user.tier].concurrent_exports
    if await preflights.count_open(conn, training.user_id) >= allowed:
        sentence = f"{allowed} preflights are not answered yet, the {user.tier} tier allows no more at a time."
        raise ModelportError("export_limit_reached", sentence, headers={"Retry-After": "5"})
    refusals = [_refusal(training, options, wishes) for options in wishes.options]
    asked = [options for options, refusal in zip(wishes.options, refusals, strict=True) if refusal is None]
    now = datetime.now(UTC)
    row = PreflightRow(
        id=uuid4(),
        user_id=training.user_id,
        training_job_id=training.id,
        framework=training.framework,
        wishes=asked,
        refused=[refusal for refusal in refusals if refusal],
        seconds=await preflights.seconds(conn, training.user_id, training.framework, training.model_name),
        created_at=now,
        answered_at=None if asked else now,
    )
    await preflights.insert(conn, row)
    if asked:
        event = _event(row, training, wishes, TIERS[user.tier].checkpoint_max_bytes)
        await put_event(conn, event, subject_id=row.id, source=SERVICE, sequence=1)
    return row


async def answered(parts: Parts, user_id: UUID, preflight_id: UUID, patience_s: float = 0.0) -> PreflightRow:
    """The preflight once it is answered, or as it is after `patience_s`; Permanent("not_found")."""
    ends_at = time.monotonic() + patience_s
    with parts.progress.watch(preflight_id) as news:
        while True:
            news.clear()
            row = await preflights.get(parts.pool, user_id, preflight_id)
            if row is None:
                raise Permanent("not_found", "No such preflight.")
            left = ends_at - time.monotonic()
            if row.answered_at or left <= 0 or parts.progress.is_ending:
                return row
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), left)


async def shown(parts: Parts, row: PreflightRow) -> Preflight:
    """The answer: one forecast for each format, in the order of the formats, and what live workers can do now."""
    live = await workers.announced(parts.bus)
    asked = row.forecasts or (row.error and [_failed(options, row.error) for options in row.wishes]) or []
    routes = {format_of(options): options for options in row.wishes}
    order = list(ExportFormat)
    formats = [_present(one, routes.get(one.format), row, live) for one in (*row.refused, *asked)]
    return Preflight(
        preflight_id=row.id,
        training_job_id=row.training_job_id,
        is_answered=row.answered_at is not None,
        formats=sorted(formats, key=lambda one: order.index(one.format)),
        error=row.error,
        cached=row.cached,
        duration_s=row.duration_s,
        created_at=row.created_at,
        answered_at=row.answered_at,
    )


def format_of(options: ExportOptions) -> ExportFormat:
    return ExportFormat(str(options.__struct_config__.tag))


def _event(row: PreflightRow, training: TrainingJob, wishes: Wishes, max_bytes: int) -> PreflightRequestedV1:
    return PreflightRequestedV1(
        preflight_id=row.id,
        user_id=training.user_id,
        training_job_id=training.id,
        framework=training.framework,
        task_type=training.task_type,
        model_name=training.model_name,
        checkpoint_path=training.checkpoint_path,
        checkpoint_max_bytes=max_bytes,
        classes=training.classes,
        source_config=training.config or {},
        wishes=row.wishes,
        optimization=wishes.optimization,
        optimized=wishes.export_format,
    )


def _refusal(training: TrainingJob, options: ExportOptions, wishes: Wishes) -> Forecast | None:
    """What no worker could do, by name."""
    optimization = wishes.optimization_of(options)
    try:
        require_supported(training.framework, training.task_type, options, optimization, ValidationConfig())
    except Permanent as error:
        return _failed(options, ErrorInfo.of(error))
    return None


def _failed(options: ExportOptions, error: ErrorInfo) -> Forecast:
    name = format_of(options)
    return Forecast(
        format=name,
        supported=False,
        precisions=PRECISIONS[name],
        code=error.code,
        reason=error.message[:1000],
        hint=error.hint[:1000],
        operator=error.operator[:256],
    )


def _present(
    forecast: Forecast, options: ExportOptions | None, row: PreflightRow, live: list[WorkerAnnouncement] | None
) -> Forecast:
    """With what is known here: how long such exports took, and who could make one now."""
    if options is None or live is None or not forecast.supported:
        return replace(forecast, available=False) if not forecast.supported else forecast
    waits_for = workers.waits_for(live, row.framework, export_route(options))
    return replace(
        forecast,
        expected_seconds=row.seconds.get(forecast.format),
        available=workers.can_take(live, row.framework, export_route(options)),
        waits_for=waits_for[:1000],
        hint=forecast.hint or _other_flavor(options, row, live),
    )


def _other_flavor(options: ExportOptions, row: PreflightRow, live: list[WorkerAnnouncement]) -> str:
    """The builder of engines that would be at hand where the asked one is not."""
    flavor = getattr(options, "flavor", None)
    if flavor is None or workers.can_take(live, row.framework, FLAVOR_ROUTES[flavor]):
        return ""
    others = [name for name, route in FLAVOR_ROUTES.items() if workers.can_take(live, row.framework, route)]
    return f'What can be built now: export_config.flavor "{others[0]}".' if others else ""
