"""`modelport deploy`, `infer`, `download` and what belongs to deployments."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from contracts.vocabulary import DeploymentStatus, DeploymentType
from modelport import drawing
from modelport.cli import views
from modelport.cli.progress import transfer_bar
from modelport.cli.session import AsJson, Limit, Session, parse_settings
from modelport.client import Client
from modelport.errors import ApiError

DeploymentId = Annotated[str, typer.Argument(help="Id of the deployment.")]


def add_commands(app: typer.Typer) -> None:
    for name, command in COMMANDS.items():
        app.command(name)(command)


def deploy(
    ctx: typer.Context,
    export_job_id: Annotated[str, typer.Argument(help="Id of a completed export job.")],
    name: Annotated[str, typer.Option("--name", help="What you call it.")] = "endpoint",
    kind: Annotated[DeploymentType, typer.Option("--type", "-t")] = DeploymentType.PLATFORM_ENDPOINT,
    description: Annotated[str | None, typer.Option("--description")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value of config; repeatable.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it serves or fails.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make an export available; the answer shows the API key of an endpoint, once."""
    session = Session(ctx, as_json)
    config = parse_settings(settings or [], "--set")
    with session.client() as client:
        created = client.deployments.create(export_job_id, kind, name, description=description, config=config)
        found = created
        if wait:
            if created.api_key and not as_json:
                session.note(f"api key {created.api_key} (shown once: keep it)")
            found = client.deployments.wait(str(created.id))
    session.show(views.with_key(found, created.api_key), views.deployment)
    if found.status is DeploymentStatus.FAILED:
        raise typer.Exit(1)


def list_deployments(ctx: typer.Context, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Your deployments, newest first."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(tuple(client.deployments.list(limit)), views.deployments)


def infer(
    ctx: typer.Context,
    deployment_id: DeploymentId,
    picture: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JPEG, PNG, WebP or BMP.")],
    key: Annotated[str | None, typer.Option("--key", help="The API key, pk_… [env: MODELPORT_API_KEY].")] = None,
    confidence: Annotated[float | None, typer.Option("--confidence", min=0, max=1)] = None,
    iou: Annotated[float | None, typer.Option("--iou", min=0, max=1)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the picture with what was found drawn in.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a picture to an endpoint."""
    session = Session(ctx, as_json)
    endpoint = session.endpoint(deployment_id, key)
    answer = endpoint.infer(picture, confidence_threshold=confidence, iou_threshold=iou)
    session.show(answer, views.inference)
    if output:
        drawing.draw(picture, answer.predictions, output)
        session.note(f"wrote {output}")


def download(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(help="Id of a download deployment, or of a completed export.")],
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("export-package.zip"),
    as_json: AsJson = False,
) -> None:
    """Fetch the package; for an export, a download deployment is made first."""
    session = Session(ctx, as_json)
    with session.client() as client, transfer_bar(session.err, f"downloading {output.name}") as progress:
        path = client.deployments.download(_download_deployment(client, identity), output, progress)
    session.show({"path": str(path), "size_bytes": path.stat().st_size}, lambda _: Text(f"wrote {path}"))


def _download_deployment(client: Client, identity: str) -> str:
    try:
        return str(client.deployments.get(identity).id)
    except ApiError as error:
        if error.status != 404:
            raise
    created = client.deployments.create(identity, DeploymentType.DOWNLOAD, "download")
    return str(client.deployments.wait(str(created.id)).id)


def usage(ctx: typer.Context, deployment_id: DeploymentId, as_json: AsJson = False) -> None:
    """How much an endpoint was used."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.deployments.usage(deployment_id), views.usage)


def history(ctx: typer.Context, deployment_id: DeploymentId, as_json: AsJson = False) -> None:
    """What has happened to a deployment."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(tuple(client.deployments.history(deployment_id)), views.history)


def rotate_key(ctx: typer.Context, deployment_id: DeploymentId, as_json: AsJson = False) -> None:
    """A new API key, shown once; the old one stops working."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.deployments.rotate_key(deployment_id), views.api_key)


def deactivate(ctx: typer.Context, deployment_id: DeploymentId, as_json: AsJson = False) -> None:
    """Stop serving; the model is unloaded."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.deployments.deactivate(deployment_id), views.deployment)


def reactivate(ctx: typer.Context, deployment_id: DeploymentId, as_json: AsJson = False) -> None:
    """Serve again."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.deployments.reactivate(deployment_id), views.deployment)


def delete(
    ctx: typer.Context,
    deployment_id: DeploymentId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a deployment and its files."""
    session = Session(ctx, as_json)
    if not yes:
        typer.confirm(f"Delete deployment {deployment_id} for good?", abort=True, err=True)
    with session.client() as client:
        client.deployments.delete(deployment_id)
    session.show({"deleted": deployment_id}, lambda _: Text(f"deleted {deployment_id}"))


COMMANDS: dict[str, Callable[..., None]] = {
    "deploy": deploy,
    "deployments": list_deployments,
    "infer": infer,
    "download": download,
    "usage": usage,
    "history": history,
    "rotate-key": rotate_key,
    "deactivate": deactivate,
    "reactivate": reactivate,
    "delete": delete,
}
