"""Looks at a running sandbox from outside: memory of all its processes, disk of its directory, and names the limit that broke."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from servicekit.sandbox.bubblewrap import Limits

MAX_ENTRIES = 100_000
FREE_FLOOR = 512 << 20
PROC = Path("/proc")
HAS_CHILD_LISTS = (PROC / f"self/task/{os.getpid()}/children").exists()


class Usage(Struct, frozen=True, kw_only=True):
    """Bytes in use, and the tasks (threads of all processes) that use them, the sandbox' own among them."""

    memory_bytes: int
    tasks: int


def tree(pid: int) -> list[int]:
    """A process and all its descendants that live now; a process orphaned inside the sandbox stays below its init."""
    children = _listed if HAS_CHILD_LISTS else _scanned()
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting.extend(children(current))
    return found


@contextmanager
def hold(pid: int) -> Iterator[list[int]]:
    """A process and all its descendants as pidfds, which name them even when their ids are given out again."""
    held: dict[int, int] = {}
    try:
        for descendant in tree(pid):
            with suppress(ProcessLookupError):
                held[descendant] = os.pidfd_open(descendant)
        still = set(tree(pid))  # an id that was given out again before it was opened is not below us
        yield [descriptor for descendant, descriptor in held.items() if descendant in still]
    finally:
        for descriptor in held.values():
            os.close(descriptor)


async def gone(pidfds: Sequence[int]) -> None:
    """Wait until each of the processes has ended; the init of a pid namespace ends after everything in it."""
    loop = asyncio.get_running_loop()
    for descriptor in pidfds:
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def usage(pid: int) -> Usage:
    """Private and shared anonymous memory of the tree, with its page tables and what of it is swapped out.

    Mapped files (the toolchain's libraries) do not count: the kernel can take their pages back.
    """
    memory, tasks = 0, 0
    for process in tree(pid):
        used, threads = _counted(process)
        memory += used
        tasks += threads
    return Usage(memory_bytes=memory, tasks=tasks)


def disk_bytes(root: Path) -> int | None:
    """Allocated bytes below `root`, or None where the tree has too many entries or too long paths to be measured."""
    total, entries, waiting = 0, 0, [str(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    with suppress(FileNotFoundError):  # one that comes and goes must not hide those behind it
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        if entries > MAX_ENTRIES:
            return None
    return total


def unlinked_bytes(pid: int, device: int) -> int:
    """Allocated bytes of files on `device` that a tree of processes holds open and that no folder names any more."""
    found: dict[int, int] = {}
    for process in tree(pid):
        with suppress(OSError), os.scandir(PROC / str(process) / "fd") as opened:
            for entry in opened:
                with suppress(OSError):
                    file = entry.stat()
                    if file.st_dev == device and file.st_nlink == 0:
                        found[file.st_ino] = file.st_blocks * 512
    return sum(found.values())


def broken_disk_limit(pid: int, root: Path, limits: Limits) -> bool:
    """Whether the directory, with what `pid` has deleted in it and still holds open, is over its limit or cannot be measured, or the
    file system is about to be full."""
    used = disk_bytes(root)
    if used is None or used + unlinked_bytes(pid, root.stat().st_dev) > limits.disk_bytes:
        return True
    return _is_full(root)


def is_starved(root: Path, limits: Limits) -> bool:
    """Whether the file system is about to be full though the directory is within its limit: others have filled it, or it is too small."""
    used = disk_bytes(root)
    return used is not None and used <= limits.disk_bytes and _is_full(root)


def _is_full(root: Path) -> bool:
    state = os.statvfs(root)
    return state.f_bavail * state.f_frsize < FREE_FLOOR


def _listed(pid: int) -> list[int]:
    """Children by the kernel's own lists."""
    found: list[int] = []
    try:
        for thread in (PROC / str(pid) / "task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    except (OSError, ValueError):
        return found
    return found


def _scanned() -> Callable[[int], list[int]]:
    """Children by one look at all processes, for kernels without CONFIG_PROC_CHILDREN."""
    below: dict[int, list[int]] = {}
    for process in PROC.iterdir():
        if process.name.isdigit():
            try:
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            below.setdefault(parent, []).append(int(process.name))
    return lambda pid: below.get(pid, [])


def _counted(pid: int) -> tuple[int, int]:
    """Bytes and threads of one process."""
    total, threads = 0, 0
    try:
        with (PROC / str(pid) / "status").open("rb") as lines:
            for line in lines:
                if line.startswith((b"RssAnon:", b"RssShmem:", b"VmPTE:", b"VmSwap:")):
                    total += int(line.split()[1]) * 1024
                elif line.startswith(b"Threads:"):
                    threads = int(line.split()[1])
    except (OSError, ValueError):
        return total, threads
    return total, threads
