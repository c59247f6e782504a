"""`python -m demo`: the whole main job with a summary; exit code 0 only if source, wrappers and endpoint agree."""

import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import samples
from contracts.errors import Permanent
from demo.host import DemoError, stack
from demo.summary import show
from demo.walk import SAMPLE, Outcome, Walk
from embedded.settings import EmbeddedSettings
from modelport.errors import ClientError
from modelport.exports import JobState
from samples.cache import TrainingFailed
from servicekit.settings import load

STEPS = 7
PLAIN_WIDTH = 130
INTERRUPTED = 130


def main() -> int:
    """0: all agree; 1: they do not, or the job did not get through; 130: Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=PLAIN_WIDTH)

    def told(step: int, line: str) -> None:
        console.print(f"[bold cyan]{step}/{STEPS}[/] {line}")

    try:
        sample = samples.describe(SAMPLE, lambda line: console.print(f"    [dim]{line}[/]"))
        told(1, f"sample checkpoint {sample.checkpoint}")
        outcome = _walk(sample, console, told)
    except (DemoError, TrainingFailed, ClientError, Permanent) as error:
        console.print("[bold red]The demo did not get through.[/]")
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return INTERRUPTED
    show(outcome, console)
    return 0 if outcome.agrees else 1


def _walk(sample: samples.Sample, console: Console, told: Callable[[int, str], None]) -> Outcome:
    settings = load(EmbeddedSettings)
    columns = (
        TextColumn("    {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with (
        stack(settings, lambda line: console.print(f"    [dim]{line}[/]")) as running,
        Progress(*columns, console=console, transient=True) as bar,
    ):
        task = bar.add_task("export", total=100, visible=False)

        def progress(state: JobState) -> None:
            words = state.message or state.stage or state.event
            bar.update(task, completed=state.progress_percent or 0, description=str(words), visible=True)

        return Walk(running, settings.home_path / "demo", told, progress).run(sample)


if __name__ == "__main__":
    sys.exit(main())
