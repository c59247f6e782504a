"""Why a `verify` fails: `faults.py`, run on the package in the sandbox, and what of its answer is believed."""

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from contracts.vocabulary import WrapperLanguage
from packager import archive, wrappers

UNKNOWN = "unknown: none of the known mistakes explains the golden vectors."
SCRIPTS, QUESTION = ("faults.py", "changes.py"), "checks.json"
_SHOWN = 400
_FILE, _FOLDER = 0o644, 0o755


class Check(Struct, frozen=True):
    """One line of a `verify`."""

    subject: str
    name: str
    passed: bool
    detail: str


class Fault(Struct, frozen=True, array_like=True):
    """A mistake that explains what is wrong: its name, and how it shows."""

    name: str
    sentence: str


class Question(NamedTuple):
    """The command that looks for the mistake, and what it reads beside the package and the environment."""

    call: tuple[str, ...]
    reads: Path


def ask(folder: Path, python: str, package: Path, failed: Iterable[Check]) -> Question:
    """Lay `faults.py`, our own processing and comparisons and the failed checks into `folder`: what the package brings may be at fault."""
    python_files = wrappers.language_files(WrapperLanguage.PYTHON)
    texts = {name.removeprefix(f"{wrappers.PYTHON}/"): data for name, data in python_files.items()}
    texts |= {name: (files("packager.proofs") / "faults" / name).read_bytes() for name in SCRIPTS}
    texts |= {QUESTION: msgspec.json.encode(tuple(failed))}
    for path in archive.written(folder, texts).values():
        path.chmod(_FILE)
        path.parent.chmod(_FOLDER)
    return Question((python, str(folder / SCRIPTS[0]), str(package), str(folder / QUESTION)), folder)


def cause(output: bytes) -> str:
    """The name and the sentence of the mistake, for people; what is no such answer is unknown."""
    lines = output.splitlines()
    try:
        fault = msgspec.json.decode(lines[-1], type=Fault) if lines else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fault = None
    return UNKNOWN if fault is None else shown(f"{fault.name}: {fault.sentence}")[:_SHOWN]


def shown(text: str) -> str:
    """A stranger's words on one line for people, without characters that a database refuses or a terminal obeys."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
