"""The last look at a package before it is stored: its own zip is unpacked, and its Python `verify` is run on that."""

import asyncio
import zipfile
from pathlib import Path

import msgspec

from contracts import keys
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata
from contracts.vocabulary import WrapperLanguage
from packager.proofs import Gate


async def prove(gate: Gate, package: Path, folder: Path) -> None:
    """Raises Permanent `wrapper_disagrees` for a package that does not repeat its own golden vectors.

    The other languages' files are those of the export, where they were tried.
    """
    members = await asyncio.to_thread(_unpacked, package, folder / "delivered")
    described = msgspec.json.decode(members.pop(keys.METADATA).read_bytes(), type=ModelMetadata)
    python = {name: path for name, path in described.runtime_wrappers.items() if name == WrapperLanguage.PYTHON}
    if not python:
        raise Permanent("packaging_failed", "the package brings no Python wrapper, by which it is verified")
    await gate.prove(msgspec.structs.replace(described, runtime_wrappers=python), members, folder)


def _unpacked(package: Path, folder: Path) -> dict[str, Path]:
    """The files of an archive that was written here, by their paths in it."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
        return {name: folder / name for name in archive.namelist()}
