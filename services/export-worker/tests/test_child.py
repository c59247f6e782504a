"""The child as its parent starts it: what it says on standard output, how it ends, cold and warm."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import Permanent
from contracts.vocabulary import ExportStage
from export_worker.child import describe
from export_worker.parity.gate import ParityError
from samples.cache import Sample

from .exporting import Case, job_folder

Samples = Callable[[str], Sample]


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "export_worker.child", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "log").open("wb"),
    )


@pytest.mark.slow
def test_a_cold_child_reads_its_folder_and_says_nothing_but_json(sample: Samples, tmp_path: Path):
    folder = job_folder(tmp_path, Case.of(sample("digits-timm")), "onnx")

    out, _ = started(folder).communicate()

    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[-1]["type"] == "done", (folder / "log").read_text()
    assert set(lines[-1]["durations_s"]) == {"load", "convert", "verify"}
    assert {line["type"] for line in lines[:-1]} == {"progress"}
    assert all(0 <= line["fraction"] <= 1 for line in lines[:-1])
    names = {path.name for path in (folder / "output").iterdir()}
    assert names == {"model.onnx", "metadata.json", "parity_report.json", "golden_vectors.safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--warm", "--cold"])
def test_a_child_waits_for_its_job(sample: Samples, tmp_path: Path, how: str):
    child = started(tmp_path, how, "timm")
    assert child.stdout is not None
    assert child.stdin is not None
    ready = json.loads(child.stdout.readline())
    job_folder(tmp_path, Case.of(sample("digits-timm")), "torchscript")

    out, _ = child.communicate(b"go\n")

    assert ready == {"type": "ready"}
    assert json.loads(out.splitlines()[-1])["type"] == "done"
    assert child.returncode == 0


@pytest.mark.slow
def test_a_warm_child_that_is_not_needed_leaves(tmp_path: Path):
    child = started(tmp_path, "--warm", "timm")
    assert child.stdout is not None
    child.stdout.readline()

    out, _ = child.communicate()

    assert (out, child.returncode) == (b"", 0)


@pytest.mark.slow
def test_a_failed_run_ends_with_an_error_and_code_1(sample: Samples, tmp_path: Path):
    case = Case.of(sample("digits-timm"))
    folder = job_folder(tmp_path, case, "onnx")
    (folder / "input" / case.checkpoint.name).write_bytes(b"nothing")
    child = started(folder)

    out, _ = child.communicate()

    last = json.loads(out.splitlines()[-1])
    assert child.returncode == 1
    assert (last["type"], last["code"], last["stage"]) == ("error", "checkpoint_unreadable", "load")
    assert "Traceback" in (folder / "log").read_text()


@pytest.mark.parametrize(
    ("error", "stage", "code"),
    [
        (Permanent("unsupported_operator", "x"), ExportStage.CONVERT, "unsupported_operator"),
        (ParityError("x", "model.3"), ExportStage.VERIFY, "parity_failed"),
        (MemoryError(), ExportStage.CONVERT, "step_out_of_memory"),
        (RuntimeError("x"), ExportStage.CONVERT, "conversion_failed"),
        (ZeroDivisionError("x"), ExportStage.LOAD, "checkpoint_unreadable"),
    ],
)
def test_every_end_has_a_code_and_its_stage(error: BaseException, stage: ExportStage, code: str):
    told = describe(error, stage)

    assert (told.code, told.stage) == (code, stage)
    assert told.hint
    assert told.operator == ("model.3" if code == "parity_failed" else "")
    assert not told.retryable


def test_the_cause_is_the_original_error():
    try:
        try:
            raise ValueError("inner")
        except ValueError as inner:
            raise Permanent("conversion_failed", "outer") from inner
    except Permanent as error:
        told = describe(error, ExportStage.CONVERT)

    assert told.cause == "ValueError: inner"


IMPORTS = """
import sys
from export_worker import registry
registry.resolve(registry.LOADERS[sys.argv[1]])
print(" ".join(name for name in ("torchvision", "timm", "ultralytics", "transformers") if name in sys.modules))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "foreign"), [("ultralytics", {"torchvision", "timm"}), ("huggingface", {"timm"})]
)
def test_a_toolchain_imports_nothing_that_its_jobs_do_not_need(framework: str, foreign: set[str]):
    out = subprocess.run([sys.executable, "-c", IMPORTS, framework], check=True, capture_output=True, text=True).stdout
    assert not foreign & set(out.split())


SUPPRESSION = """
import sys, torch
from ultralytics.utils.nms import TorchNMS
from export_worker.frameworks.ultralytics import _suppress_with_kernel
torch.manual_seed(0)
corner, size = torch.rand(2, 400, 2) * torch.tensor([[[90.0]], [[30.0]]])
boxes, scores = torch.cat([corner, corner + size], 1), torch.rand(400)
expected = TorchNMS.nms(boxes, scores, 0.5)
_suppress_with_kernel()
found = TorchNMS.nms(boxes, scores, 0.5)
assert "torchvision" not in sys.modules
import torchvision
assert torch.equal(found, torchvision.ops.nms(boxes, scores, 0.5))
assert torch.equal(found, expected)
print(len(found))
"""


@pytest.mark.slow
def test_the_suppression_kernel_alone_answers_what_all_of_torchvision_answers():
    out = subprocess.run([sys.executable, "-c", SUPPRESSION], check=True, capture_output=True, text=True).stdout
    assert 0 < int(out) < 400
