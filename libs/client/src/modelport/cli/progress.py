"""Progress bars on stderr: transfers and running jobs."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from modelport import transfer
from modelport.cli.safe import Shown, plain
from modelport.client import Client
from modelport.exports import JobState
from modelport.models import Deployment, ExportJob

ENDPOINT_PATIENCE_S, PACKAGE_PATIENCE_S = 120.0, 1800.0


@contextmanager
def transfer_bar(console: Console, title: str) -> Iterator[transfer.Progress]:
    """A bar in bytes; nothing is shown where stderr is no terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield update


def follow_job(console: Console, client: Client, job: ExportJob) -> ExportJob:
    """Show a job until it is over; one line per stage where stderr is no terminal."""
    if not console.is_terminal:
        return client.exports.wait(str(job.id), _StageLines(console).show)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("waiting for a worker", total=100)

        def show(state: JobState) -> None:
            text = plain(": ".join(part for part in (state.stage, state.message) if part))
            bar.update(task, completed=state.progress_percent, description=text or None)

        return client.exports.wait(str(job.id), show)


def follow_deployment(console: Console, client: Client, made: Deployment) -> Deployment:
    """Show a deployment until it has settled; one line for each status where stderr is no terminal."""
    timeout_s = PACKAGE_PATIENCE_S if made.deployment_type.is_built else ENDPOINT_PATIENCE_S
    if not console.is_terminal:
        said: list[str] = []

        def tell(found: Deployment) -> None:
            if (text := _doing(found)) not in said:
                said.append(text)
                console.print(Shown(f"{found.progress_percent:3.0f} %  {text}"), markup=False)

        return client.deployments.wait(made.id, timeout_s=timeout_s, on_state=tell)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(plain(_doing(made)), total=100)

        def show(found: Deployment) -> None:
            bar.update(task, completed=found.progress_percent, description=plain(_doing(found)))

        return client.deployments.wait(made.id, timeout_s=timeout_s, on_state=show)


def _doing(found: Deployment) -> str:
    return f"{found.stage}: {found.message}" if found.stage else str(found.status)


class _StageLines:
    """Says each stage once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""

    def show(self, state: JobState) -> None:
        if state.stage and state.stage != self._said:
            self._said = state.stage
            line = f"{state.progress_percent or 0:3.0f} %  {state.stage}: {state.message or ''}"
            self._console.print(Shown(line), markup=False)
