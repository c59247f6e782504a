"""Programs that repeat a package's golden vectors: which one runs a language of a format here, and what may be said of it.

Python's runs in a clean environment. Those of compiled languages are built by `python -m packager.programs` and listed in a file,
each with the digest of the sources that it was made of; one that was made of other sources than those shipped now is not used.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts.vocabulary import ExportFormat, WrapperLanguage
from packager import wrappers
from packager.environments import installed

PACKAGE = "{package}"
"""Stands in a command for the folder of the unpacked package."""
WITHOUT_MODEL = "--without-model"
_log = logging.getLogger(__name__)


class Verifier(Struct, frozen=True, kw_only=True):
    """How one language's `verify` is run: `--json` is part of the command, `reads` is what a sandbox must show beside the package."""

    language: WrapperLanguage
    export_format: ExportFormat
    command: tuple[str, ...]
    reads: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    made_with: str
    sources: str
    """Digest of the shipped sources that it was made of."""
    why_no_model: str = ""
    """Why it cannot run models of the format, and so is asked for what comes before and after one."""

    def call(self, package: Path, *options: str) -> tuple[str, ...]:
        """The command for one package."""
        return (*(part.replace(PACKAGE, str(package)) for part in self.command), *options)


Verifiers = Mapping[tuple[ExportFormat, WrapperLanguage], Verifier]


def of_python(folder: Path) -> dict[ExportFormat, Verifier]:
    """Python's, for the formats that have an environment below `folder`; run where the package lies, from its own sources."""
    return {
        export_format: Verifier(
            language=WrapperLanguage.PYTHON,
            export_format=export_format,
            command=(str(python), f"{PACKAGE}/{wrappers.PYTHON}/verify.py", "--json", PACKAGE),
            reads=(str(python.parents[1]),),
            variables=(("PYTHONSAFEPATH", ""),),
            made_with=f"Python in the environment of {export_format}",
            sources="",
        )
        for export_format, python in installed(folder).items()
    }


def listed(path: Path) -> dict[tuple[ExportFormat, WrapperLanguage], Verifier]:
    """The built programs of a list that were made of the sources shipped now and are still there; none where there is no list."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=tuple[Verifier, ...])
    except (OSError, msgspec.DecodeError) as error:
        _log.info("no list of built verifiers at %s: %s", path, error)
        return {}
    return {(one.export_format, one.language): one for one in found if _is_usable(one)}


def _is_usable(verifier: Verifier) -> bool:
    usable = verifier.sources == digest(verifier.language) and all(Path(path).exists() for path in verifier.reads)
    if not usable:
        _log.warning("the verifier of %s for %s is not made of the shipped sources", *_names(verifier))
    return usable


def _names(verifier: Verifier) -> tuple[str, str]:
    return str(verifier.language), str(verifier.export_format)


def digest(language: WrapperLanguage) -> str:
    """SHA-256 of every shipped source of a language, with their names."""
    total = hashlib.sha256()
    for name, data in sorted(wrappers.language_files(language).items()):
        total.update(f"{name}\0{len(data)}\0".encode() + data)
    return total.hexdigest()
