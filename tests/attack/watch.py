"""What anybody on the machine can read of processes, watched while something runs: command lines, and environments inside sandboxes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PAUSE_S = 0.02


@dataclass
class Seen:
    """Everything that was readable, each text once."""

    command_lines: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    """Of processes whose ancestors include a bubblewrap."""


@contextmanager
def watching() -> Iterator[Seen]:
    """Looks again and again until the block ends."""
    seen, over = Seen(), threading.Event()

    def look_on() -> None:
        while not over.wait(PAUSE_S):
            look(seen)

    thread = threading.Thread(target=look_on)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def look(seen: Seen) -> None:
    """Once over all processes; those that end meanwhile are passed by."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            seen.command_lines.add((folder / "cmdline").read_bytes())
            name, _, rest = (folder / "stat").read_text().rpartition(")")
            parents[int(folder.name)], names[int(folder.name)] = int(rest.split()[1]), name.partition("(")[2]
    for pid in parents:
        if any(names[one] == "bwrap" for one in ancestors(pid, parents)):
            with suppress(OSError):
                seen.environments.add(Path(f"/proc/{pid}/environ").read_bytes())


def ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    pid = parents.get(pid, 0)
    while pid in parents:
        yield pid
        pid = parents[pid]
