"""The file that a Core ML export is stored as: a zip of the .mlpackage whose bytes depend on the model alone."""

import json
import zipfile
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from contracts.keys import PACKAGED_MODELS
from contracts.vocabulary import ExportFormat

PACKAGE = PACKAGED_MODELS[ExportFormat.COREML]
ITEMS = "Data/com.apple.CoreML"
SPECIFICATION = f"{ITEMS}/model.mlmodel"
WEIGHTS = f"{ITEMS}/weights"
MANIFEST = "Manifest.json"
PARTS = {"model.mlmodel": "CoreML Model Specification", "weights": "CoreML Model Weights"}
"""Items of a package, by name, and how the manifest describes them."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def manifest(items: list[str]) -> bytes:
    """Manifest.json of a package of these items; Apple's writer draws their identifiers at random."""
    names = {item: str(uuid5(NAMESPACE_URL, f"modelport/{item}")) for item in items}
    entries = {
        names[item]: {
            "author": "com.apple.CoreML",
            "description": PARTS[item],
            "name": item,
            "path": f"com.apple.CoreML/{item}",
        }
        for item in items
    }
    told = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": names["model.mlmodel"],
    }
    return json.dumps(told, indent=4, sort_keys=True).encode()


def write(target: Path, specification: bytes, weights: Path) -> None:
    """Store a package at `target`; `weights` is the folder of its weight files, which may be missing.

    Nothing is compressed: weights hardly shrink, and what a compressor makes of them changes with its release.
    """
    files = sorted(weights.iterdir()) if weights.is_dir() else []
    items = ["model.mlmodel", *(["weights"] if files else [])]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(SPECIFICATION), specification)
        for file in files:
            with (
                file.open("rb") as source,
                archive.open(_member(f"{WEIGHTS}/{file.name}"), "w", force_zip64=True) as to,
            ):
                while block := source.read(1 << 20):
                    to.write(block)
        archive.writestr(_member(MANIFEST), manifest(items))


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{PACKAGE}/{name}", EPOCH)
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    return info


def unpack(stored: Path, folder: Path) -> Path:
    """The .mlpackage of a stored zip that this process wrote itself, below `folder`."""
    with zipfile.ZipFile(stored) as archive:
        archive.extractall(folder)
    return folder / PACKAGE
