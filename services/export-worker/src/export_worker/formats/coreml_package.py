"""The file that a Core ML export is stored as: a zip of the .mlpackage whose bytes depend on the model alone."""

import json
import zipfile
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from contracts.keys import PACKAGED_MODELS
from contracts.vocabulary import ExportFormat
from export_worker.formats.bundle import bundle

PACKAGE = PACKAGED_MODELS[ExportFormat.COREML]
ITEMS = "Data/com.apple.CoreML"
SPECIFICATION = f"{ITEMS}/model.mlmodel"
WEIGHTS = f"{ITEMS}/weights/weight.bin"
MANIFEST = "Manifest.json"
PARTS = {"model.mlmodel": "CoreML Model Specification", "weights": "CoreML Model Weights"}
"""Items of a package, by name, and how the manifest describes them."""


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


def write(target: Path, package: Path) -> None:
    """Store the saved `package`, which gets a manifest of its own, at `target`."""
    (package / MANIFEST).write_bytes(manifest(list(PARTS)))
    bundle(target, {f"{PACKAGE}/{name}": package / name for name in (SPECIFICATION, WEIGHTS, MANIFEST)})


def unpack(stored: Path, folder: Path) -> Path:
    """The .mlpackage of a stored zip that this process wrote itself, below `folder`."""
    with zipfile.ZipFile(stored) as archive:
        archive.extractall(folder)
    return folder / PACKAGE
