"""Trains timm's smallest vision transformer on the digits: four patches of 16 pixels each."""

from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from samples import digits
from samples.recipes import DIGITS, DIGITS_PX

ARCHITECTURE = "test_vit"
EPOCHS = 30


def train(folder: Path) -> dict[str, float]:
    """`model.pth` holds {"state_dict": …}, `model.safetensors` the bare tensors."""
    model = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=len(DIGITS), img_size=DIGITS_PX)
    accuracy = digits.fit(model, model, epochs=EPOCHS, max_lr=3e-3)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "arch": ARCHITECTURE}, folder / "model.pth")
    save_file(state, folder / "model.safetensors")
    return {"accuracy": accuracy}
