"""The folders of one run: `job/` is all that the sandboxed step sees and may fill, everything beside it is the run's own."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

INPUT, OUTPUT, TMP, SHM, REQUEST = "input", "output", "tmp", "shm", "request.json"
LOG = "log.txt"
LOCK = "lock"


class JobDir(Struct, frozen=True):
    """`root` belongs to the run; `path` below it is bound to /job inside the sandbox."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / "job"

    @property
    def input(self) -> Path:
        return self.path / INPUT

    @property
    def log(self) -> Path:
        return self.root / LOG

    @classmethod
    def create(cls, root: Path, uid: int) -> "JobDir":
        """Make the folders; `uid` (see `Sandbox.uid`) becomes owner of what the step writes to. Idempotent."""
        made = cls(root)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (made.path, made.input, made.path / OUTPUT, made.path / TMP, made.path / SHM):
            folder.mkdir(mode=0o755, exist_ok=True)
        if uid != os.geteuid():
            for folder in (made.path, made.path / OUTPUT, made.path / TMP, made.path / SHM):
                os.chown(folder, uid, uid)
        return made

    @classmethod
    @contextmanager
    def temporary(cls, uid: int) -> Iterator["JobDir"]:
        """Folders for a trial, removed at the end."""
        made = cls.create(Path(tempfile.mkdtemp(prefix="modelport-")), uid)
        try:
            yield made
        finally:
            made.remove()

    def write_request(self, body: bytes) -> None:
        """Place request.json; the step reads it, so it must be complete before the step is told to go."""
        target = self.path / REQUEST
        target.unlink(missing_ok=True)
        target.write_bytes(body)
        target.chmod(0o644)

    def remove(self) -> None:
        """Delete everything, whatever the step left: any depth, any permissions, links not followed."""
        delete(self.root)


class Home:
    """A worker process' own folder below `work_dir`, locked while it lives; the folders of dead workers are removed."""

    def __init__(self, work_dir: Path, worker_id: str) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        for other in work_dir.iterdir():
            _remove_if_dead(other)
        self.path = work_dir / f"{worker_id}-{os.getpid()}"
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
            delete(folder)
    except OSError:
        return  # no worker's folder, or its worker lives


def delete(tree: Path) -> None:
    """`rm -rf`, which unlike shutil.rmtree has no limit of depth; missing is fine."""
    command = ["rm", "-rf", "--", str(tree)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(tree)], capture_output=True, check=False)
        subprocess.run(command, capture_output=True, check=False)
