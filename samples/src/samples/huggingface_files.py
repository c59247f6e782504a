"""What Hugging Face's `save_pretrained` leaves, with the preprocessor beside it, as a folder and as a zip."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel

EPOCH_OF_THE_ZIP = (1980, 1, 1, 0, 0, 0)


def save(folder: Path, model: PreTrainedModel, preprocessor: Mapping[str, object]) -> None:
    """`model/` with config.json, model.safetensors and preprocessor_config.json; `model.zip` holds its files flat."""
    saved = folder / "model"
    model.save_pretrained(saved)
    (saved / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    with zipfile.ZipFile(folder / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(saved.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name, EPOCH_OF_THE_ZIP), path.read_bytes(), zipfile.ZIP_DEFLATED)
