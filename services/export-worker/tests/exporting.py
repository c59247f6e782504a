"""Runs the steps of an export in this process, and makes small checkpoints of every kind."""

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the child does, and before torch is imported

import msgspec
import numpy as np
import pytest
import torch
from msgspec import Struct

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from contracts.execution import ExportRun
from contracts.export_options import parse_export_options
from contracts.keys import GOLDENS, MODEL_FILES
from contracts.model_package import ModelMetadata
from contracts.optimization import parse_optimization
from contracts.vocabulary import ExportFormat, Framework, TaskType
from export_worker import child
from export_worker.loaded import Loaded, Work, begin
from export_worker.planner import plan
from export_worker.registry import resolve
from processing.goldens import read
from samples.cache import Sample

Samples = Callable[[str], Sample]
ARCHITECTURE = "resnet10t"
"""Of the sample digits-timm."""


class Case(Struct, frozen=True, kw_only=True):
    """What to export; the fields of a request that matter here."""

    checkpoint: Path
    framework: Framework
    task: TaskType
    model: str
    config: Mapping[str, object] = {}
    classes: tuple[str, ...] | None = None

    @classmethod
    def of(cls, sample: Sample) -> "Case":
        recipe = sample.recipe
        return cls(
            checkpoint=sample.checkpoint,
            framework=Framework(recipe.framework),
            task=TaskType(recipe.task_type),
            model=recipe.model_name,
            config=recipe.config,
            classes=recipe.classes,
        )


def request(
    case: Case, target: str, options: dict[str, object] | None = None, optimization: dict[str, object] | None = None
) -> ExportRequestedV1:
    return ExportRequestedV1(
        job_id=UUID(int=1),
        user_id=UUID(int=2),
        training_job_id=UUID(int=3),
        version=1,
        framework=case.framework,
        task_type=case.task,
        model_name=case.model,
        checkpoint_path="s3://bucket/uploads/x",
        checkpoint_max_bytes=1 << 30,
        classes=list(case.classes) if case.classes else None,
        source_config=dict(case.config),
        export_format=ExportFormat(target),
        options=parse_export_options(ExportFormat(target), options),
        optimization=parse_optimization(optimization),
    )


def job_folder(
    folder: Path,
    case: Case,
    target: str,
    options: dict[str, object] | None = None,
    optimization: dict[str, object] | None = None,
) -> Path:
    """The folder as the sandboxed child finds it."""
    for name in ("input", "output", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    copy = shutil.copytree if case.checkpoint.is_dir() else shutil.copyfile
    copy(case.checkpoint, folder / "input" / case.checkpoint.name)
    run = ExportRun(request=request(case, target, options, optimization), attempt=1, worker_id="test")
    (folder / "request.json").write_bytes(msgspec.json.encode(run))
    return folder


class Exported(Struct, frozen=True, kw_only=True):
    """What a run left."""

    folder: Path
    metadata: ModelMetadata
    report: dict[str, object]
    lines: list[dict[str, object]]

    @property
    def model(self) -> Path:
        return self.folder / "output" / MODEL_FILES[self.metadata.model_info.export_format]


def export(
    folder: Path,
    case: Case,
    target: str,
    options: dict[str, object] | None = None,
    optimization: dict[str, object] | None = None,
) -> Exported:
    """Every step, as the child runs them; raises what the child would report."""
    job_folder(folder, case, target, options, optimization)
    stream = io.BytesIO()
    child.run(folder, child.Reporter(stream))
    output = folder / "output"
    return Exported(
        folder=folder,
        metadata=msgspec.json.decode((output / "metadata.json").read_bytes(), type=ModelMetadata),
        report=json.loads((output / "parity_report.json").read_bytes()),
        lines=[json.loads(line) for line in stream.getvalue().splitlines()],
    )


def until(
    stage: str,
    folder: Path,
    case: Case,
    target: str,
    options: dict[str, object] | None = None,
    optimization: dict[str, object] | None = None,
) -> Work:
    """The state after the last step of `stage` ("load", "convert"), for a test to spoil before the next."""
    job_folder(folder, case, target, options, optimization)
    asked = request(case, target, options, optimization)
    steps = plan(asked)
    last = max(index for index, step in enumerate(steps) if step.stage == stage)
    work: Work = begin(asked, folder, lambda fraction, message: None)
    for step in steps[: last + 1]:
        work = resolve(step.entry)(work)
    return work


class Replay(NamedTuple):
    """One stored picture of the golden vectors, whole outputs and what was found."""

    picture: np.ndarray
    tensor: dict[str, Any]
    outputs: dict[str, np.ndarray]
    confidence: float | None
    predictions: list[dict[str, Any]]


def goldens(exported: Exported) -> list[Replay]:
    vectors, arrays = read((exported.folder / "output" / GOLDENS).read_bytes())
    assert all(place["stride"] == 1 for vector in vectors["model"] for place in vector["outputs"].values())
    return [
        Replay(
            arrays[vector["picture"]],
            vector["tensor"],
            {name: arrays[place["array"]].reshape(place["shape"]) for name, place in vector["outputs"].items()},
            vector["options"]["confidence_threshold"],
            vector["predictions"],
        )
        for vector in vectors["model"]
    ]


def case(
    path: Path,
    framework: Framework,
    task: TaskType = TaskType.IMAGE_CLASSIFICATION,
    model: str = ARCHITECTURE,
    **more: object,
) -> Case:
    return Case(checkpoint=path, framework=framework, task=task, model=model, **more)


def load(folder: Path, given: Case) -> Loaded:
    return until("load", folder, given, "onnx").need_loaded()


def refused(folder: Path, given: Case) -> Permanent:
    """What loading the checkpoint raises."""
    with pytest.raises(Permanent) as caught:
        load(folder, given)
    return caught.value


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Normalisations as after training: fresh ones hide faults, as many of them multiply by zero."""
    torch.manual_seed(seed)
    for part in model.modules():
        if isinstance(part, torch.nn.modules.batchnorm._NormBase) and part.affine:
            part.weight.data.uniform_(0.75, 1.25)
            part.bias.data.normal_(0, 0.1)
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.75, 1.25)
    return model.eval()
