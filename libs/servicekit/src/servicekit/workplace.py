"""A process' own folder on the disk, and its end: also after SIGKILL nothing of it stays for ever."""

import fcntl
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

LOCK = "lock"


class Home:
    """A process' own folder below `work_dir`, locked while it lives; the folders of dead processes are removed."""

    def __init__(self, work_dir: Path, name: str) -> None:
        """OSError where the folder cannot be made."""
        work_dir.mkdir(parents=True, exist_ok=True)
        for other in work_dir.iterdir():
            _remove_if_dead(other)
        self.path = work_dir / f"{name}-{os.getpid()}"
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._lock = (self.path / LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Remove the folder; nothing may run in it any more."""
        delete(self.path)
        self._lock.close()


def _remove_if_dead(folder: Path) -> None:
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for pid in sandboxes_in(folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            delete(folder)
    except OSError:
        return  # nobody's folder, or its process lives


def sandboxes_in(folder: Path) -> list[int]:
    """Processes of bwrap itself that name the folder.

    They die with their parent, but for one whose parent is killed between its clone and its first word: it waits for that word for ever.
    """
    found = []
    for process in Path("/proc").iterdir():
        try:
            is_sandbox = process.name.isdigit() and (process / "comm").read_text() == "bwrap\n"
            if is_sandbox and f"{folder}/".encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def delete(tree: Path) -> None:
    """`rm -rf`, which unlike shutil.rmtree has no limit of depth; missing is fine."""
    command = ["rm", "-rf", "--", str(tree)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(tree)], capture_output=True, check=False)
        subprocess.run(command, capture_output=True, check=False)
