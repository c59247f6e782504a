"""Nothing of what a step leaves is taken on trust."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from contracts.errors import Permanent
from contracts.events import ExportRequestedV1
from contracts.execution import ExportRun
from contracts.export_options import OnnxOptions, parse_export_options
from contracts.keys import MODEL_FILES, PACKAGED_MODELS
from contracts.vocabulary import ExportFormat, Framework, TaskType
from export_worker.fetch import Checkpoint
from export_worker.sandbox import outputs
from export_worker.sandbox.outputs import MAX_BYTES, collect, take
from servicekit.sandbox.job_dir import JobDir

GOLDEN = Path(__file__).parents[3] / "libs/contracts/tests/golden/export.models.exported.v1.json"
REAL = {"sha256": "5" * 64, "size_bytes": 77}
ID = UUID(int=1)
NODE = b"\x0a\x01x\x12\x01y\x22\x03Neg"
GRAPH = b"\x0a" + bytes([len(NODE)]) + NODE
MODEL = b"\x08\x08\x3a" + bytes([len(GRAPH)]) + GRAPH
"""One `Neg`, as protobuf."""


@pytest.fixture
def job(tmp_path: Path) -> JobDir:
    return JobDir.create(tmp_path / "run", os.geteuid())


@pytest.fixture
def metadata() -> dict[str, dict[str, object]]:
    golden = json.loads(GOLDEN.read_text())["metadata"]
    info = {
        "framework": "timm",
        "task_type": "image_classification",
        "model_name": "resnet18",
        "export_format": "onnx",
        "version": 4,
    }
    return {**golden, "model_info": info, "runtime_wrappers": {}, "files": []}


@pytest.fixture
def fill(job: JobDir, metadata: dict[str, object]) -> Callable[..., None]:
    """Leaves good outputs; `metadata.json` with the given changes."""

    def leave(**changes: object) -> None:
        output = job.path / "output"
        (output / "model.onnx").write_bytes(MODEL)
        (output / "metadata.json").write_text(json.dumps({**metadata, **changes}))
        (output / "parity_report.json").write_text("{}")
        (output / "golden_vectors.safetensors").write_bytes(b"npz")

    return leave


def run() -> ExportRun:
    request = ExportRequestedV1(
        job_id=ID,
        user_id=ID,
        training_job_id=ID,
        version=4,
        framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet18",
        checkpoint_path="s3://vision-platform/x",
        checkpoint_max_bytes=1,
        export_format=ExportFormat.ONNX,
        options=OnnxOptions(),
    )
    return ExportRun(request=request, attempt=1, worker_id="w")


def checkpoint(job: JobDir) -> Checkpoint:
    return Checkpoint(path=job.input / "x", sha256=str(REAL["sha256"]), size_bytes=77)


def test_good_outputs_are_taken_and_measured_again(job: JobDir, fill: Callable[..., None]) -> None:
    fill()
    artefact = collect(job, run(), checkpoint(job))
    assert artefact.model.read_bytes() == MODEL
    assert job.path not in artefact.model.parents
    assert artefact.metadata.provenance.checkpoint_sha256 == REAL["sha256"]
    assert artefact.metadata.sizes.exported_size_bytes == len(MODEL)


def test_metadata_of_another_job_is_refused(
    job: JobDir, fill: Callable[..., None], metadata: dict[str, dict[str, object]]
) -> None:
    fill(model_info={**metadata["model_info"], "version": 5})
    with pytest.raises(Permanent, match="does not speak of this job"):
        collect(job, run(), checkpoint(job))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_file": "../../etc/passwd"},
        {"files": [{"path": "/etc/shadow", "sha256": "0" * 64, "size_bytes": 1}]},
        {"runtime_wrappers": {"python": "evil"}},
        {"schema_version": 2},
        {"parity": {"proof": "certified"}},
        {"classes": [{"id": 0, "name": "\u001b[2J"}]},
        {"postprocessing": {"decoder": "softmax", "nms": {}, "output_format": {}, "top_k": 10**9}},
    ],
)
def test_metadata_that_lies_is_refused(job: JobDir, fill: Callable[..., None], changes: dict[str, object]) -> None:
    fill(**changes)
    with pytest.raises(Permanent, match=r"no usable metadata\.json") as caught:
        collect(job, run(), checkpoint(job))
    assert caught.value.code == "conversion_failed"


def swap(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "symbolic"),
        (lambda path: path.hardlink_to(path.parent / "parity_report.json"), "plain file"),
        (os.mkfifo, "plain file"),
        (Path.mkdir, "plain file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda _: None, "No such file"),
    ],
)
def test_what_is_no_plain_file_is_refused(
    job: JobDir, fill: Callable[..., None], make: Callable[[Path], object], words: str
) -> None:
    fill()
    swap(job.path / "output" / "model.onnx", make)
    with pytest.raises(Permanent, match=words):
        take(job, "model.onnx", 100)


def test_a_folder_that_became_a_link_is_refused(job: JobDir, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    (job.path / "output").rmdir()
    (job.path / "output").symlink_to(tmp_path)
    with pytest.raises(Permanent):
        take(job, "model.onnx", 100)
    assert (tmp_path / "model.onnx").exists()


def test_a_giant_report_is_refused(job: JobDir, fill: Callable[..., None]) -> None:
    fill()
    with (job.path / "output" / "parity_report.json").open("wb") as file:
        file.truncate(MAX_BYTES["parity_report.json"] + 1)
    with pytest.raises(Permanent, match="allowed"):
        collect(job, run(), checkpoint(job))


def test_a_report_that_is_no_json_is_refused(job: JobDir, fill: Callable[..., None]) -> None:
    fill()
    (job.path / "output" / "parity_report.json").write_text("[" * 100_000)
    with pytest.raises(Permanent, match="parity_report"):
        collect(job, run(), checkpoint(job))


@pytest.mark.parametrize(
    ("target", "proof"), [("coreml", "verified"), ("tensorrt", "verified"), ("tensorrt", "evaluated")]
)
def test_no_step_can_claim_more_than_its_machine_can_prove(
    job: JobDir,
    fill: Callable[..., None],
    metadata: dict[str, Any],
    target: str,
    proof: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = msgspec.structs.replace(
        run().request, export_format=ExportFormat(target), options=parse_export_options(ExportFormat(target), {})
    )
    info = {**metadata["model_info"], "export_format": target}
    fill(
        model_info=info, model_file=PACKAGED_MODELS[asked.export_format], parity={**metadata["parity"], "proof": proof}
    )
    (job.path / "output" / MODEL_FILES[asked.export_format]).write_bytes(MODEL)
    monkeypatch.setattr(outputs, "CHECKS", {})
    monkeypatch.setattr(outputs, "nvidia_devices", lambda: ())
    with pytest.raises(Permanent, match=f"can prove such a model to be {proof}"):
        collect(job, msgspec.structs.replace(run(), request=asked), checkpoint(job))


def test_an_artefact_that_was_proven_wrong_does_not_leave(
    job: JobDir, fill: Callable[..., None], metadata: dict[str, dict[str, object]]
) -> None:
    fill(parity={**metadata["parity"], "proof": "failed"})
    with pytest.raises(Permanent, match="proof"):
        collect(job, run(), checkpoint(job))


def test_what_was_asked_for_is_told_by_the_request_alone(
    job: JobDir, fill: Callable[..., None], metadata: dict[str, dict[str, object]]
) -> None:
    forged = {"export_options": {"note": ["x" * 1000]}, "optimization": {"evil": True}}
    fill(provenance={**metadata["provenance"], **forged})
    provenance = collect(job, run(), checkpoint(job)).metadata.provenance
    assert provenance.export_options["format"] == "onnx"
    assert not {"note", "evil"} & {*provenance.export_options, *provenance.optimization}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [1, 3, 4096, 4095]}, "input_spec"),
        ({"shape": [2**31 - 1, 3, -1, -1]}, "input_spec"),
        ({"shape": [1] * 8}, "input_spec"),
        ({"shape": [-1]}, "input_spec"),
        ({"dtype": "float64"}, "input_spec"),
    ],
)
def test_an_input_that_no_picture_becomes_is_refused(
    job: JobDir,
    fill: Callable[..., None],
    metadata: dict[str, dict[str, object]],
    changes: dict[str, object],
    words: str,
) -> None:
    fill(input_spec={**metadata["input_spec"], **changes})
    with pytest.raises(Permanent, match=words):
        collect(job, run(), checkpoint(job))


def test_a_model_that_reads_other_files_does_not_leave(job: JobDir, fill: Callable[..., None]) -> None:
    fill()
    (job.path / "output" / "model.onnx").write_bytes(b"\x80\x04pickle")
    with pytest.raises(Permanent, match=r"not an ONNX file|no field"):
        collect(job, run(), checkpoint(job))


def test_a_small_checkpoint_makes_no_giant_model(job: JobDir, fill: Callable[..., None]) -> None:
    """A file of holes costs the step nothing and everybody behind it gigabytes."""
    fill()
    os.truncate(job.path / "output" / "model.onnx", 1 << 30)
    with pytest.raises(Permanent, match="allowed"):
        collect(job, run(), checkpoint(job))


def test_a_report_of_broken_text_is_refused(job: JobDir, fill: Callable[..., None]) -> None:
    fill()
    (job.path / "output" / "parity_report.json").write_bytes(b'{"note": "\xff"}')
    with pytest.raises(Permanent, match="parity_report"):
        collect(job, run(), checkpoint(job))
