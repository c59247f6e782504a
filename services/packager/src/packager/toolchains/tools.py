"""What builds have in common: tools that are found or named with what installs them, and digests of what is built."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from packager.toolchains.downloads import ToolchainError, ToolMissing

COMPILE_S = 600.0
_SHOWN = 4000


def installed_onnxruntime() -> Path:
    """The native library of the Python package that is installed here; ToolchainError where there is none."""
    found = find_spec("onnxruntime")
    root = Path(found.origin).parent if found and found.origin else None
    libraries = sorted((root / "capi").glob("libonnxruntime.so*")) if root else []
    if not libraries:
        raise ToolchainError("onnxruntime: its native library is not here; pip install onnxruntime")
    return libraries[0]


def needed(tool: str, package: str) -> str:
    """The path of a tool; ToolMissing with the Debian package that brings it."""
    path = shutil.which(tool)
    if path is None:
        raise ToolMissing(f"{tool} is not installed (on Debian: apt-get install {package})")
    return path


def run(command: Sequence[str]) -> None:
    """A tool to its end; ToolchainError with the end of what it said unless it succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=COMPILE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{Path(command[0]).name} took longer than {COMPILE_S:.0f} s") from error
    if done.returncode:
        raise ToolchainError(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr)[-_SHOWN:]}")


def digest(paths: Iterable[Path], *facts: str) -> str:
    """Of files their names and bytes, of folders their names, which tell what is in them, and of further facts."""
    total = hashlib.sha256("\0".join(facts).encode())
    for path in paths:
        total.update(path.name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"") + b"\0")
    return total.hexdigest()[:16]
