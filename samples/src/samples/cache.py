"""Keeps what was trained: one folder per sample, made once, thrown away when the recipe's code changes."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from samples.recipes import RECIPES, Recipe

REPORT = "sample.json"
IMPORT = re.compile(r"^from samples(?:\.(\w+))? import (.+)$", re.MULTILINE)
OFFLINE_ENVIRONMENT = {
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONHASHSEED": "0",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave a shared core to others
}


class TrainingFailed(RuntimeError):
    """The training process ended badly; the message shows the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A finished checkpoint; `metrics` were measured on held-out data, `seconds` is the whole training process."""

    recipe: Recipe
    checkpoint: Path
    metrics: Mapping[str, float]
    seconds: float


def cache_folder() -> Path:
    """`$MODELPORT_CACHE/samples`, by default `.cache/samples` of the checkout this package is installed from."""
    chosen = os.environ.get("MODELPORT_CACHE")
    root = Path(chosen) if chosen else Path(__file__).resolve().parents[3] / ".cache"
    return root.resolve() / "samples"


def build(name: str, told: Callable[[str], None] = print) -> Path:
    """The checkpoint's path; trains it first where needed, one line of progress after the other to `told`."""
    return describe(name, told).checkpoint


def describe(name: str, told: Callable[[str], None] = print) -> Sample:
    """The sample with its measured metrics; trains it first where needed. KeyError for an unknown name."""
    recipe = RECIPES[name]
    folder = cache_folder() / f"{name}-{_digest(recipe)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / REPORT).is_file():
            _train(name, recipe, folder, told)
    report = json.loads((folder / REPORT).read_text())
    checkpoint = folder / recipe.checkpoint
    return Sample(recipe=recipe, checkpoint=checkpoint, metrics=report["metrics"], seconds=report["seconds"])


def _digest(recipe: Recipe) -> str:
    """Of the recipe, of what it starts from, and of the modules of this package that its trainer is made of."""
    sources = _modules_of(recipe.trainer.partition(":")[0].rpartition(".")[2], set())
    base = [_digest(RECIPES[recipe.base])] if recipe.base else []
    parts = [repr(recipe), *base, *((Path(__file__).parent / f"{name}.py").read_text() for name in sorted(sources))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _modules_of(name: str, seen: set[str]) -> set[str]:
    """A module and what it imports from this package, the table of recipes excepted."""
    if name in seen or name == "recipes":
        return seen
    seen.add(name)
    for module, imported in IMPORT.findall((Path(__file__).parent / f"{name}.py").read_text()):
        for needed in [module] if module else imported.split(", "):
            _modules_of(needed, seen)
    return seen


def _train(name: str, recipe: Recipe, folder: Path, told: Callable[[str], None]) -> None:
    """Train in a process of its own, beside the final place, and move the folder there when it is complete."""
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    base = build(recipe.base, told) if recipe.base else None
    if base is not None:
        shutil.copy(base, draft / f"base{base.suffix}")
    began = time.monotonic()
    told(f"training {name} ({recipe.model_name})")
    metrics = _run(recipe, draft, told)
    seconds = round(time.monotonic() - began, 1)
    if base is not None:
        (draft / f"base{base.suffix}").unlink()
    report = {"name": name, "model_name": recipe.model_name, "metrics": metrics, "seconds": seconds}
    (draft / REPORT).write_text(json.dumps(report, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    shown = ", ".join(f"{key} {value:.3f}" for key, value in metrics.items())
    told(f"trained {name} in {seconds:.0f} s: {shown} on held-out pictures")


def _run(recipe: Recipe, draft: Path, told: Callable[[str], None]) -> dict[str, float]:
    """Runs `python -m samples.training`; its lines that begin with '>' are progress, the rest goes to the log."""
    log, result = draft / "training.log", draft / "metrics.json"
    command = [sys.executable, "-m", "samples.training", recipe.trainer, str(draft), str(result)]
    environment = {**os.environ, **OFFLINE_ENVIRONMENT, "YOLO_CONFIG_DIR": str(draft)}
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=draft
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            out.write(line)
            if line.startswith(">"):
                told(line[1:].strip())
    if process.returncode != 0:
        tail = "\n".join(log.read_text().splitlines()[-15:])
        raise TrainingFailed(f"{recipe.trainer} ended with code {process.returncode}:\n{tail}\nwhole log: {log}")
    metrics: dict[str, float] = json.loads(result.read_text())
    result.unlink()
    return metrics
