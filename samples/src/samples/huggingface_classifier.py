"""Trains a tiny Hugging Face ViT on the digits; leaves the folder that `save_pretrained` makes, and the same as a zip."""

import json
import zipfile
from pathlib import Path

from transformers import ViTConfig, ViTForImageClassification

from samples import digits
from samples.recipes import DIGITS, DIGITS_PX, MEAN_STD

EPOCHS = 24
EPOCH_OF_THE_ZIP = (1980, 1, 1, 0, 0, 0)
CONFIG = ViTConfig(
    image_size=DIGITS_PX,
    patch_size=8,
    hidden_size=96,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=192,
    id2label=dict(enumerate(DIGITS)),
    label2id={name: index for index, name in enumerate(DIGITS)},
)
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": DIGITS_PX, "width": DIGITS_PX},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(MEAN_STD),
    "image_std": list(MEAN_STD),
}


def train(folder: Path) -> dict[str, float]:
    """`model/` with config.json, model.safetensors and preprocessor_config.json; `model.zip` holds its files flat."""
    model = ViTForImageClassification(CONFIG)
    accuracy = digits.fit(model, lambda images: model(pixel_values=images).logits, epochs=EPOCHS, max_lr=3e-3)
    saved = folder / "model"
    model.save_pretrained(saved)
    (saved / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2))
    with zipfile.ZipFile(folder / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(saved.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name, EPOCH_OF_THE_ZIP), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return {"accuracy": accuracy}
