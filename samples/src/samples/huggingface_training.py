"""What the trainings of Hugging Face models share: the loop, the processor, and the files that are left."""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from transformers import AutoImageProcessor, BaseImageProcessor, PreTrainedModel

from samples.scenes import Scene
from samples.training import SEED, progress

BATCH = 16
WEIGHT_DECAY = 1e-4
LONGEST_STEP = 1.0
EPOCH_OF_THE_ZIP = (1980, 1, 1, 0, 0, 0)

Loss = Callable[[torch.Tensor, bool], torch.Tensor]
"""The numbers of the pictures of a batch, and whether they are mirrored, to the loss."""


def processor(folder: Path, settings: Mapping[str, object]) -> BaseImageProcessor:
    """Written to `folder`/model and loaded back from there, as whoever gets the checkpoint will."""
    saved = folder / "model"
    saved.mkdir(exist_ok=True)
    (saved / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))
    return AutoImageProcessor.from_pretrained(saved, backend="pil", local_files_only=True)


def prepared(processor: BaseImageProcessor, scenes: Sequence[Scene]) -> torch.Tensor:
    """Pictures as the model takes them, float32 [N, 3, H, W]."""
    pixels: torch.Tensor = processor(images=[scene.picture for scene in scenes], return_tensors="pt")["pixel_values"]
    return pixels


def fit(model: PreTrainedModel, loss_of: Loss, *, count: int, epochs: int, max_lr: float) -> None:
    """AdamW with a one-cycle rate on `count` pictures; half of the batches are mirrored; one thread, as all is small."""
    torch.set_num_threads(1)
    steps = count // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), lr=max_lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=max_lr, total_steps=epochs * steps, pct_start=0.2)
    generator = torch.Generator().manual_seed(SEED)
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(count, generator=generator)
        total = 0.0
        for step in range(steps):
            is_mirrored = bool(torch.rand(1, generator=generator) < 0.5)
            loss = loss_of(order[step * BATCH : (step + 1) * BATCH], is_mirrored)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST_STEP)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        progress(f"epoch {epoch + 1}/{epochs}, loss {total / steps:.3f}")
    model.eval()


def save(folder: Path, model: PreTrainedModel) -> None:
    """`model/` with config.json and model.safetensors beside the processor; `model.zip` holds its files flat."""
    saved = folder / "model"
    model.save_pretrained(saved)
    with zipfile.ZipFile(folder / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(saved.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name, EPOCH_OF_THE_ZIP), path.read_bytes(), zipfile.ZIP_DEFLATED)
