"""A package laid out to be tried: the very files that are delivered, by hard links, with what its `verify` reads beside them."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from contracts import keys
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata
from packager import archive
from processing import goldens
from processing.errors import ProcessingError

MAX_GOLDENS = 256 << 20
_FILE, _FOLDER = 0o644, 0o755
_OF_THE_MODEL = 3
"""Checks of each of the model's own vectors: its tensor, its outputs, its predictions."""


class Trial(Struct, frozen=True, kw_only=True):
    """`package` lies unpacked, to be read by anyone; `rooms` is where those who try it may work."""

    package: Path
    rooms: Path

    def room(self, name: str) -> Path:
        """A folder for one of them."""
        return self.rooms / name


def lay_out(folder: Path, members: Mapping[str, Path], metadata: bytes) -> Trial:
    """The tree of the package below `folder`; `metadata` stands for the metadata.json that is finished later."""
    package, rooms = folder / "package", folder / "rooms"
    rooms.mkdir(parents=True)
    for name, path in members.items():
        target = package / archive.checked(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(_FILE)
        os.link(path, target)
    (package / keys.METADATA).write_bytes(metadata)
    (package / keys.METADATA).chmod(_FILE)
    for path in (package, *package.rglob("*")):
        if path.is_dir():
            path.chmod(_FOLDER)
    return Trial(package=package, rooms=rooms)


def expected_checks(metadata: ModelMetadata, golden_vectors: Path, *, with_model: bool) -> int:
    """How many checks a `verify` of this package has; Permanent `packaging_failed` for golden vectors that cannot be read."""
    try:
        if golden_vectors.stat().st_size > MAX_GOLDENS:
            raise Permanent("packaging_failed", f"{keys.GOLDENS} has more than {MAX_GOLDENS >> 20} MiB")
        vectors, _ = goldens.read(golden_vectors.read_bytes())
        alone = len(vectors["preprocess"]) + len(vectors["postprocess"])
        models = len(vectors["model"])
    except (ProcessingError, KeyError, TypeError) as error:
        raise Permanent("packaging_failed", f"{keys.GOLDENS} cannot be used: {error}") from error
    if alone == 0 or models == 0:
        raise Permanent("packaging_failed", f"{keys.GOLDENS} is empty of vectors")
    return len(metadata.files) + alone + (_OF_THE_MODEL * models if with_model else 0)
