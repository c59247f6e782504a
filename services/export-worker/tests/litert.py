"""Exports to LiteRT from tests whose own environment cannot have it."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from contracts.errors import Permanent
from contracts.model_package import ModelMetadata
from export_worker import child

from .exporting import Case, Exported, job_folder

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-litert" / "bin" / "python"
JOBS = Path(__file__).with_name("litert_jobs.py")

Asked = Mapping[str, tuple[Case, dict[str, object]]]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The environment's interpreter; what it printed is shown where it fails."""
    if not PYTHON.is_file():
        pytest.fail(f"there is no {PYTHON.relative_to(ROOT)}: run `make setup`", pytrace=False)
    quiet = {**os.environ, **child.QUIET, "OMP_NUM_THREADS": "2", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [str(PYTHON), *arguments], cwd=cwd, env=quiet, capture_output=True, text=True, check=False, timeout=900
    )


def export_all(folder: Path, asked: Asked) -> dict[str, Exported | Permanent]:
    """Name -> what the export left, or the error that it ended with; all in one process, which imports LiteRT once."""
    folders = {name: _job(folder / name, case, dict(options)) for name, (case, options) in asked.items()}
    done = run(str(JOBS), *map(str, folders.values()), cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: outcome(each, done.stderr) for name, each in folders.items()}


def _job(folder: Path, case: Case, options: dict[str, object]) -> Path:
    """`quantize` among the options is optimization_config.quantization, which asks for what the format's own options cannot."""
    quantize = options.pop("quantize", None)
    job_folder(folder, case, "tflite", options)
    if quantize is not None:
        path = folder / "request.json"
        run = json.loads(path.read_bytes())
        run["request"]["optimization"]["quantization"] = quantize
        path.write_text(json.dumps(run))
    return folder


def outcome(folder: Path, log: str = "") -> Exported | Permanent:
    lines = [json.loads(line) for line in (folder / "lines").read_bytes().splitlines()]
    last = lines[-1]
    if last["type"] == "error":
        error = Permanent(last["code"], last["message"])
        error.add_note(log[-4000:])
        error.operator = last.get("operator", "")
        return error
    output = folder / "output"
    return Exported(
        folder=folder,
        metadata=msgspec.json.decode((output / "metadata.json").read_bytes(), type=ModelMetadata),
        report=json.loads((output / "parity_report.json").read_bytes()),
        lines=lines,
    )
