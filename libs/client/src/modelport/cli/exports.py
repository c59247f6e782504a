"""`modelport export` and what belongs to export jobs."""

from pathlib import Path
from typing import Annotated

import typer

from contracts.vocabulary import ExportFormat, ExportStatus, Framework, TaskType
from modelport.cli import preflights, views
from modelport.cli.progress import follow_job
from modelport.cli.session import AsJson, Limit, Session, parse_settings
from modelport.cli.training import ClassesOption, SourceOption, register_local

JobId = Annotated[str, typer.Argument(help="Id of the export job.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value of export_config; repeatable.")]
Optimise = Annotated[list[str] | None, typer.Option("--optimize", help="key=value of optimization_config.")]
Validate = Annotated[list[str] | None, typer.Option("--validate", help="key=value of validation_config.")]


def add_commands(app: typer.Typer) -> None:
    app.command("preflight")(preflights.preflight)
    app.command("export")(export)
    app.command("exports")(list_exports)
    app.command("capabilities")(capabilities)
    app.command("cancel")(cancel)
    app.command("set-default")(set_default)
    app.command("tag")(tag)


def export(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="Id of a training, or a local checkpoint.")],
    export_format: Annotated[ExportFormat, typer.Option("--format", "-f")] = ExportFormat.ONNX,
    settings: Settings = None,
    optimise: Optimise = None,
    validate: Validate = None,
    version_tag: Annotated[str | None, typer.Option("--tag", help="Name of this version.")] = None,
    framework: Annotated[Framework | None, typer.Option(help="Of a local checkpoint.")] = None,
    task: Annotated[TaskType | None, typer.Option(help="Of a local checkpoint.")] = None,
    model_name: Annotated[str | None, typer.Option(help="Of a local checkpoint.")] = None,
    classes: ClassesOption = None,
    config: SourceOption = None,
    look_first: Annotated[
        bool, typer.Option("--preflight/--no-preflight", help="Ask first whether it will work.")
    ] = True,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Stay until the job is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a training; a local checkpoint is uploaded and registered first.

    What a preflight refuses is not even begun: exit code 1 with the reason and what would work.
    """
    session = Session(ctx, as_json)
    export_config = parse_settings(settings or [], "--set")
    optimization_config = parse_settings(optimise or [], "--optimize")
    validation_config = parse_settings(validate or [], "--validate")
    with session.client() as client:
        if Path(source).exists():
            source = register_local(session, client, Path(source), (framework, task, model_name), classes, config)
        if look_first and (
            refused := preflights.refusal(session, client, source, export_format, export_config, optimization_config)
        ):
            session.show(refused, preflights.forecast)
            raise typer.Exit(1)
        job = client.exports.create(
            source,
            export_format,
            export_config=export_config,
            optimization_config=optimization_config,
            validation_config=validation_config,
            version_tag=version_tag,
        )
        job = client.exports.get(job.id)
        if job.waits_for:
            session.note(f"waits for {job.waits_for}; give it up with: modelport cancel {job.id}")
        if wait:
            session.note(f"job {job.id}, version v{job.version}")
            job = follow_job(session.err, client, job)
    session.show(job, views.export)
    if wait and job.status is not ExportStatus.COMPLETED:
        raise typer.Exit(1)


def list_exports(
    ctx: typer.Context,
    training: Annotated[str | None, typer.Option("--training", help="Only of this training.")] = None,
    status: Annotated[ExportStatus | None, typer.Option("--status")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Your export jobs, newest first; * marks the default of its training."""
    session = Session(ctx, as_json)
    with session.client() as client:
        found = tuple(client.exports.list(training_job_id=training, status=status, limit=limit))
    session.show(found, views.exports)


def capabilities(
    ctx: typer.Context,
    framework: Annotated[Framework | None, typer.Argument(help="One framework; all where left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """What can be exported to what, what live workers can do now, and why not."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(
            [client.exports.capabilities(one) for one in ([framework] if framework else Framework)], views.capabilities
        )


def cancel(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Stop a job that is not over yet."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.exports.cancel(job_id), views.export)


def set_default(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Make this the default export of its training."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.exports.set_default(job_id), views.export)


def tag(
    ctx: typer.Context,
    job_id: JobId,
    version_tag: Annotated[str, typer.Argument(help='Such as production; "" takes the tag away.')],
    as_json: AsJson = False,
) -> None:
    """Name a version."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.exports.tag(job_id, version_tag or None), views.export)
