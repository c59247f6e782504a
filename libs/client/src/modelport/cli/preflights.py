"""`modelport preflight`: whether an export will work, before anybody waits for it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Framework, TaskType
from modelport.cli import views
from modelport.cli.session import AsJson, Session, parse_settings
from modelport.cli.training import ClassesOption, SourceOption, register_local
from modelport.client import Client
from modelport.errors import ApiError
from modelport.models import Preflight

Config = dict[str, object]
INCONCLUSIVE = frozenset(
    {
        *("step_timeout", "step_crashed", "step_out_of_memory", "step_disk_full"),
        *("deadline_exceeded", "worker_lost", "unavailable", "internal", "storage_full", "sandbox_unavailable"),
    }
)
"""The look itself came to no good end, which does not mean that an export would."""
LOOK_PATIENCE_S = 30.0
"""How long an export waits for its preflight: where no worker answers, the job may as well wait in its line."""


def preflight(
    ctx: typer.Context,
    source: Annotated[str | None, typer.Argument(help="A local checkpoint, or the id of a training.")] = None,
    training: Annotated[str | None, typer.Option("--training-job", help="Id of a training.")] = None,
    export_format: Annotated[ExportFormat | None, typer.Option("--format", "-f", help="What --set is of.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value of export_config.")] = None,
    optimise: Annotated[list[str] | None, typer.Option("--optimize", help="key=value of optimization_config.")] = None,
    framework: Annotated[Framework | None, typer.Option(help="Of a local checkpoint.")] = None,
    task: Annotated[TaskType | None, typer.Option(help="Of a local checkpoint.")] = None,
    model_name: Annotated[str | None, typer.Option(help="Of a local checkpoint.")] = None,
    classes: ClassesOption = None,
    config: SourceOption = None,
    as_json: AsJson = False,
) -> None:
    """Foresee what an export would become in every format; a local checkpoint is uploaded and registered first."""
    session = Session(ctx, as_json)
    export_config = parse_settings(settings or [], "--set")
    optimization_config = parse_settings(optimise or [], "--optimize")
    if (source is None) == (training is None):
        raise typer.BadParameter("name a checkpoint, or a training by --training-job")
    with session.client() as client:
        if source is not None and Path(source).exists():
            source = register_local(session, client, Path(source), (framework, task, model_name), classes, config)
        found = client.exports.preflight(
            source or training or "",
            export_format,
            export_config=export_config,
            optimization_config=optimization_config,
        )
    session.show(found, forecasts)
    if not found.is_answered:
        raise typer.Exit(1)


def refusal(
    session: Session,
    client: Client,
    training_id: str,
    export_format: ExportFormat,
    export_config: Config | None,
    optimization_config: Config | None,
) -> Forecast | None:
    """Why this export would fail; None where it would not, or where nobody can say."""
    try:
        found = client.exports.preflight(
            training_id,
            export_format,
            export_config=export_config,
            optimization_config=optimization_config,
            patience_s=LOOK_PATIENCE_S,
        )
    except ApiError as error:
        session.note(f"no preflight: {error.message}")
        return None
    if not found.is_answered:
        session.note("no preflight: no worker has looked at the checkpoint yet")
    mine = (one for one in found.formats if one.format is export_format and not one.supported)
    return next((one for one in mine if one.code not in INCONCLUSIVE), None)


def forecasts(found: Preflight) -> RenderableType:
    """One line for each format, and below it why not or what to know."""
    headers = ("FORMAT", "SUPPORTED", "ROUTE", "PROOF", "PRECISION", "SIZE", "MEMORY", "SECONDS", "NOW")
    grid = views.table(headers, (_row(one) for one in found.formats))
    if not found.is_answered:
        return Group(grid, Text("No worker has looked at the checkpoint yet.", style="yellow"))
    return Group(grid, *(line for one in found.formats for line in _below(one)))


def forecast(found: Forecast) -> RenderableType:
    """Why one format is refused."""
    return views.facts(
        (
            ("format", found.format),
            ("error", Text(f"{found.reason} [{found.code}]", style="red")),
            ("at", found.operator),
            ("hint", found.hint),
        )
    )


def _row(one: Forecast) -> tuple[RenderableType, ...]:
    others = [str(name) for name in one.precisions if name is not one.precision]
    seconds = "" if one.expected_seconds is None else f"{one.expected_seconds:.1f}"
    return (
        one.format,
        Text("yes", style="green") if one.supported else Text("no", style="red"),
        " > ".join(one.route),
        views.word(one.proof),
        f"{one.precision} ({', '.join(others)})" if one.precision and others else str(one.precision or ""),
        views.size(one.expected_size_bytes),
        views.size(one.expected_memory_bytes),
        seconds,
        Text("yes", style="green") if one.available else Text("no", style="yellow"),
    )


def _below(one: Forecast) -> list[Text]:
    told = (
        ("", "" if one.supported else f"{one.reason} [{one.code}]"),
        ("at ", "" if one.supported else one.operator),
        ("", one.hint),
        ("waits for ", one.waits_for),
        ("changed by ", ", ".join(one.rewrites)),
    )
    return [Text(f"{one.format}: {word}{text}") for word, text in told if text]
