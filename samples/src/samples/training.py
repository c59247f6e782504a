"""`python -m samples.training <module:function> <folder> <result.json>`: one training in a process of its own."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

SEED = 0
THREADS = 2


def seed_everything() -> None:
    """The same weights at every run on the same kind of machine."""
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)


def progress(line: str) -> None:
    """A line that the person who waits will see."""
    print(f"> {line}", flush=True)


def main(trainer: str, folder: str, result: str) -> None:
    """Call the trainer and write the metrics that it measured."""
    module, _, function = trainer.partition(":")
    seed_everything()
    metrics = getattr(importlib.import_module(module), function)(Path(folder))
    Path(result).write_text(json.dumps(metrics))


if __name__ == "__main__":
    main(*sys.argv[1:])
