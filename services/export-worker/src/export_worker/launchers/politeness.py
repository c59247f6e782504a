"""How much a tree of processes yields to the others: niceness, and that of the kernel's groups by session, which alone counts between sessions."""

import os
from contextlib import suppress
from pathlib import Path

from servicekit.sandbox import watch

POLITE = 10
NORMAL = 0
PROC = Path("/proc")
CAP_SYS_NICE = 1 << 23


def may_take_back() -> bool:
    """Whether this process may lower niceness again, as root without CAP_SYS_NICE (a container's default) may not."""
    lines = (PROC / "self/status").read_text().splitlines()
    return bool(next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")) & CAP_SYS_NICE)


def set_niceness(pid: int, value: int) -> None:
    """Of a process and all below it, as far as we may: an ordinary user may not take back niceness, but that of a session's group (sched(7))."""
    for each in watch.tree(pid):
        with suppress(OSError):
            (PROC / str(each) / "autogroup").write_text(str(value))
        if may_take_back():
            with suppress(OSError):
                for thread in (PROC / str(each) / "task").iterdir():
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), value)
