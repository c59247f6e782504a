"""Kills what a dead supervisor left behind: `python watchdog.py <stack id> <stack.json>`, told of a clean end by one line.

Every process of a stack carries the stack's id in its environment, grandchildren included, whatever process group they
moved to. Sandboxes have no environment: they die with their parents, and one that was not yet told to names the stack's
folder in its command line. Standard library only.
"""

import os
import signal
import sys
import time
from pathlib import Path

MARKER = "MODELPORT_STACK_ID"
CLEAN_END = b"clean\n"
GIVE_UP_S = 10.0


def processes_of(stack_id: str, home: Path) -> list[int]:
    """Living processes whose environment names this stack, or sandboxes in its work folder, this process excepted."""
    wanted = f"{MARKER}={stack_id}".encode()
    folder = os.fsencode(home.resolve() / "work") + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            is_sandbox = (entry / "comm").read_text() == "bwrap\n" and folder in (entry / "cmdline").read_bytes()
            if is_sandbox or wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill_all(stack_id: str, home: Path) -> int:
    """SIGKILL until no process of the stack is left (one may fork while we look); returns how many were found at first."""
    first = -1
    until = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until:
        left = processes_of(stack_id, home)
        first = len(left) if first < 0 else first
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
    return first


def main(stack_id: str, stack_file: str) -> int:
    """Wait for the other end of standard input to close: with the word it was a clean end, without it a murder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() != CLEAN_END:
        kill_all(stack_id, Path(stack_file).parent)
        Path(stack_file).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
