"""The folders of one run: `job/` is all that the sandboxed command sees and may fill, everything beside it is the run's own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from servicekit.workplace import delete

INPUT, OUTPUT, TMP, SHM, REQUEST = "input", "output", "tmp", "shm", "request.json"
LOG = "log.txt"


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
        """Make the folders; `uid` (see `Sandbox.uid`) becomes owner of what the command writes to. Idempotent."""
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
        """Place request.json; the command reads it, so it must be complete before that is told to go."""
        target = self.path / REQUEST
        target.unlink(missing_ok=True)
        target.write_bytes(body)
        target.chmod(0o644)

    def remove(self) -> None:
        """Delete everything, whatever the command left: any depth, any permissions, links not followed."""
        delete(self.root)
