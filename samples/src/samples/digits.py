"""scikit-learn's handwritten digits as small RGB pictures, and one training loop for plain torch classifiers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from samples.recipes import DIGITS_PX, MEAN_STD
from samples.training import SEED, progress

BATCH = 64
WEIGHT_DECAY = 0.02

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Digits:
    """uint8 pictures [N, 32, 32, 3] and labels [N]; 1347 to train, 450 held out, stratified."""

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]


def load() -> Digits:
    """Resized from 8 x 8 with Pillow's bilinear filter, as a classifier's own transform would."""
    data = load_digits()
    small = np.round(data.images * (255 / 16)).astype(np.uint8)
    size = (DIGITS_PX, DIGITS_PX)
    large = [Image.fromarray(image).resize(size, Image.Resampling.BILINEAR).convert("RGB") for image in small]
    images, labels = np.stack([np.asarray(image) for image in large]), data.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    return Digits(images[train], labels[train], images[test], labels[test])


def normalised(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """[N, H, W, 3] bytes to [N, 3, H, W] floats with mean and std one half."""
    mean, std = (torch.tensor(MEAN_STD).view(1, 3, 1, 1) for _ in range(2))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std


def fit(model: torch.nn.Module, forward: Forward, *, epochs: int, max_lr: float) -> float:
    """AdamW with a one-cycle rate; the short last batch is dropped (its statistics spoil batch norm). Test accuracy."""
    data = load()
    images, labels = normalised(data.train_images), torch.from_numpy(data.train_labels)
    steps = len(labels) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), lr=max_lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=max_lr, total_steps=epochs * steps)
    generator = torch.Generator().manual_seed(SEED)
    loss = torch.zeros(())
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(labels), generator=generator)
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            loss = torch.nn.functional.cross_entropy(forward(images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        progress(f"epoch {epoch + 1}/{epochs}, loss {float(loss):.3f}")
    return accuracy(model, forward, data)


def accuracy(model: torch.nn.Module, forward: Forward, data: Digits) -> float:
    """Share of the held-out digits that are named right."""
    model.eval()
    with torch.no_grad():
        named = forward(normalised(data.test_images)).argmax(1).numpy()
    return float((named == data.test_labels).mean())
