"""`modelport deploy`, `infer`, `download` and what belongs to deployments."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from contracts.vocabulary import DeploymentStatus, DeploymentType, TargetPlatform
from modelport import drawing, transfer
from modelport.cli import views
from modelport.cli.progress import follow_deployment, transfer_bar
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
    name: Annotated[str | None, typer.Option("--name", help="What you call it.")] = None,
    kind: Annotated[DeploymentType, typer.Option("--type", "-t")] = DeploymentType.PLATFORM_ENDPOINT,
    description: Annotated[str | None, typer.Option("--description")] = None,
    platform: Annotated[TargetPlatform | None, typer.Option("--platform", help="Of an edge package.")] = None,
    samples: Annotated[
        bool | None, typer.Option("--sample-code/--no-sample-code", help="Of an edge package: a sample app too.")
    ] = None,
    image_name: Annotated[str | None, typer.Option("--image-name", help="Of a container.")] = None,
    image_tag: Annotated[str | None, typer.Option("--image-tag", help="Of a container.")] = None,
    base_image: Annotated[str | None, typer.Option("--base-image", help="Of a container: what it is built on.")] = None,
    registry: Annotated[str | None, typer.Option("--registry", help="Of a container: where its image goes.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value of config; repeatable.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it can be used or has failed.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make an export available: as an endpoint, whose API key is shown once, or as a package for a device or a container."""
    session = Session(ctx, as_json)
    edge = {"target_platform": platform, "includes_sample_code": samples}
    image = {"image_name": image_name, "image_tag": image_tag, "base_image": base_image, "registry": registry}
    config = _config(kind, {DeploymentType.EDGE_PACKAGE: edge, DeploymentType.CONTAINER: image}, settings or [])
    with session.client() as client:
        called = name or NAMES[kind]
        created = client.deployments.create(export_job_id, kind, called, description=description, config=config)
        found = created
        if wait:
            if created.api_key and not as_json:
                session.note(f"api key {created.api_key} (shown once: keep it)")
            found = follow_deployment(session.err, client, created)
    session.show(views.with_key(found, created.api_key), views.deployment)
    if found.status is DeploymentStatus.FAILED:
        raise typer.Exit(1)


NAMES = {
    DeploymentType.PLATFORM_ENDPOINT: "endpoint",
    DeploymentType.DOWNLOAD: "download",
    DeploymentType.EDGE_PACKAGE: "edge package",
    DeploymentType.CONTAINER: "container",
}
"""What a deployment is called that is given no name."""


def _config(
    kind: DeploymentType, options: Mapping[DeploymentType, Mapping[str, object]], settings: Sequence[str]
) -> dict[str, object] | None:
    """`config` of the request; an option of another type than the one asked for is refused by name."""
    given = {of: {field: value for field, value in all_.items() if value is not None} for of, all_ in options.items()}
    for other, fields in given.items():
        if fields and other is not kind:
            raise typer.BadParameter(f"config.{next(iter(fields))} is of --type {other}, not of {kind}")
    if kind is DeploymentType.EDGE_PACKAGE and "target_platform" not in given[kind] and not settings:
        raise typer.BadParameter(f"an edge package needs --platform: {', '.join(TargetPlatform)}")
    return {**(parse_settings(settings, "--set") or {}), **given.get(kind, {})} or None


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
    identity: Annotated[str, typer.Argument(help="Id of a deployment, or of a completed export.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; else what the server calls it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the package of a deployment; for an export, a download deployment is made first."""
    session = Session(ctx, as_json)
    with session.client() as client:
        deployment = _download_deployment(client, identity)
        target = output or Path(transfer.filename(client.deployments.link(deployment).filename) or "package.zip")
        with transfer_bar(session.err, f"downloading {target.name}") as progress:
            path = client.deployments.download(deployment, target, progress)
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
