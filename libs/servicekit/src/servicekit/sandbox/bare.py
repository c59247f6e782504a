"""A command without a sandbox, for files that run no code, or where an operator accepts the risk by name.

It has the clean environment, the limits of the kernel, no new privileges and the system call filter; it sees the machine's files.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from servicekit.sandbox import bare_start
from servicekit.sandbox.bubblewrap import OPEN_FILES, Limits, child_environment, cpu_seconds
from servicekit.sandbox.job_dir import TMP


class Bare(Struct, frozen=True):
    """Takes the place of a `Sandbox`."""

    devices: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def isolates(self) -> bool:
        return False

    def uid(self) -> int:
        """The user id that the command runs under."""
        return os.geteuid()

    def showing(self, paths: Sequence[Path]) -> "Bare":
        """Itself: everything is in sight."""
        return self

    def argv(
        self, job_dir: Path, command: Sequence[str], limits: Limits, descriptors: Mapping[str, int] | None = None
    ) -> list[str]:
        """The whole command line; it speaks to `--info-fd` and `--block-fd` as bwrap does and takes its `--seccomp`."""
        tmp = str(job_dir / TMP)
        plan = {
            "folder": str(job_dir),
            "command": list(command),
            "environment": {
                **child_environment(limits.threads, self.variables, tmp, gpu=bool(self.devices)),
                "PATH": os.environ.get("PATH", os.defpath),
            },
            "limits": {
                "RLIMIT_FSIZE": limits.file_bytes,
                "RLIMIT_DATA": limits.data_bytes,
                "RLIMIT_CPU": cpu_seconds(limits),
                "RLIMIT_CORE": 0,
                "RLIMIT_NOFILE": OPEN_FILES,
            },
            "descriptors": dict(descriptors or {}),
        }
        return [sys.executable, "-I", "-S", str(Path(bare_start.__file__)), msgspec.json.encode(plan).decode()]
