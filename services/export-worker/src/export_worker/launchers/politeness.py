"""How much a tree of processes yields to the others: niceness, and that of the kernel's groups by session, which alone counts between sessions."""

import os
from contextlib import suppress
from pathlib import Path

from export_worker.sandbox import watch

POLITE = 10
NORMAL = 0
PROC = Path("/proc")


def set_niceness(pid: int, value: int) -> None:
    """Of a process and all below it, as far as we may: an ordinary user may not take back niceness, but that of a session's group (sched(7))."""
    for each in watch.tree(pid):
        with suppress(OSError):
            (PROC / str(each) / "autogroup").write_text(str(value))
        if os.geteuid() == 0:
            with suppress(OSError):
                for thread in (PROC / str(each) / "task").iterdir():
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), value)
