"""`modelport train`: register checkpoints, list trainings."""

from pathlib import Path
from typing import Annotated

import typer

from contracts.vocabulary import Framework, TaskType
from modelport.cli import views
from modelport.cli.progress import transfer_bar
from modelport.cli.session import AsJson, Limit, Session, parse_settings
from modelport.client import Client

FrameworkOption = Annotated[Framework, typer.Option("--framework", help="What wrote the checkpoint.")]
TaskOption = Annotated[TaskType, typer.Option("--task", help="What the model was trained for.")]
NameOption = Annotated[str, typer.Option("--model-name", help="Architecture, such as yolo11n or resnet18.")]
ClassesOption = Annotated[str | None, typer.Option("--classes", help="Names, separated by commas.")]
SourceOption = Annotated[list[str] | None, typer.Option("--config", help="key=value the checkpoint does not say.")]


def build_app() -> typer.Typer:
    app = typer.Typer(help="Checkpoints and the trainings they come from.", no_args_is_help=True, rich_markup_mode=None)
    app.command("register")(register)
    app.command("list")(list_trainings)
    return app


def register(
    ctx: typer.Context,
    checkpoint: Annotated[str, typer.Argument(help="A local file or folder, or the s3:// URI of an upload.")],
    framework: FrameworkOption,
    task: TaskOption,
    model_name: NameOption,
    classes: ClassesOption = None,
    config: SourceOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a checkpoint known; what is local is uploaded first."""
    session = Session(ctx, as_json)
    names = [name.strip() for name in classes.split(",")] if classes else None
    settings = parse_settings(config or [], "--config")
    with session.client() as client:
        uri = checkpoint if checkpoint.startswith("s3://") else upload(session, client, Path(checkpoint))
        job = client.training.register(
            framework=framework,
            task_type=task,
            model_name=model_name,
            checkpoint_path=uri,
            classes=names,
            config=settings,
        )
    session.show(job, views.training)


def list_trainings(ctx: typer.Context, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Your trainings, newest first."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(tuple(client.training.list(limit)), views.trainings)


def upload(session: Session, client: Client, path: Path) -> str:
    """Upload with a progress bar; a path that does not exist is a usage error."""
    if not path.exists():
        raise typer.BadParameter(f"{path} is neither a file nor a folder nor an s3:// URI")
    with transfer_bar(session.err, f"uploading {path.name}") as progress:
        return client.training.upload(path, progress)


def register_local(
    session: Session,
    client: Client,
    path: Path,
    what: tuple[Framework | None, TaskType | None, str | None],
    classes: str | None,
    config: list[str] | None,
) -> str:
    """Upload and register a checkpoint; the id of its training."""
    framework, task, model_name = what
    if framework is None or task is None or not model_name:
        raise typer.BadParameter("a local checkpoint needs --framework, --task and --model-name")
    training = client.training.register(
        framework=framework,
        task_type=task,
        model_name=model_name,
        checkpoint_path=upload(session, client, path),
        classes=[name.strip() for name in classes.split(",")] if classes else None,
        config=parse_settings(config or [], "--config"),
    )
    session.note(f"registered as training {training.id}")
    return str(training.id)
