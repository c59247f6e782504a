"""What is foreseen of real small checkpoints, in this process: which formats work, what a refusal names, what is shared."""

import io
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
import torch

from contracts.errors import Permanent
from contracts.events import PreflightRequestedV1
from contracts.execution import PreflightRun
from contracts.export_options import OPTIONS, ExportOptions, OnnxOptions, OpenVinoOptions, TensorRtOptions
from contracts.optimization import parse_optimization
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Precision, Proof
from export_worker import child
from export_worker.forecast import checks, foresee, memory
from export_worker.forecast.found import FILE, Foreseen
from export_worker.forecast.subject import Subject, Wish
from export_worker.frameworks import timm
from samples.cache import Sample

from .exporting import Case, job_folder, until

Samples = Callable[[str], Sample]
X = ExportFormat
pytestmark = pytest.mark.slow


def preflight(case: Case, *wishes: ExportOptions, **changes: object) -> PreflightRequestedV1:
    request = PreflightRequestedV1(
        preflight_id=UUID(int=1),
        user_id=UUID(int=2),
        training_job_id=UUID(int=3),
        framework=case.framework,
        task_type=case.task,
        model_name=case.model,
        checkpoint_path="s3://bucket/uploads/x",
        checkpoint_max_bytes=1 << 30,
        classes=list(case.classes) if case.classes else None,
        source_config=dict(case.config),
        wishes=list(wishes) or [options() for options in OPTIONS.values()],
    )
    return msgspec.structs.replace(request, **changes)


def look(
    folder: Path, case: Case, *wishes: ExportOptions, memory_bytes: int = 0, **changes: object
) -> dict[X, Forecast]:
    """Every forecast, as the child leaves them."""
    job_folder(folder, case, "onnx")
    asked = preflight(case, *wishes, **changes)
    run = PreflightRun(request=asked, attempt=1, worker_id="test", memory_bytes=memory_bytes)
    (folder / "request.json").write_bytes(msgspec.json.encode(run))
    child.run(folder, child.Reporter(io.BytesIO()))
    found = msgspec.json.decode((folder / "output" / FILE).read_bytes(), type=Foreseen)
    assert found.looks_at is None
    return {one.format: one for one in found.forecasts}


@pytest.fixture(scope="module")
def case(sample: Samples) -> Case:
    return Case.of(sample("digits-timm"))


class Middling(torch.nn.Module):
    """A classifier with an operator that neither Core ML nor LiteRT nor ONNX has."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(images)
        return logits + torch.kthvalue(logits, 2, dim=1, keepdim=True).values


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader delivers such a model."""
    plain = timm.load

    def load(work):
        made = plain(work)
        module = Middling(made.loaded.module).eval()
        return msgspec.structs.replace(made, loaded=msgspec.structs.replace(made.loaded, module=module))

    monkeypatch.setattr(timm, "load", load)


def test_every_format_of_a_classifier_works(case: Case, tmp_path: Path) -> None:
    found = look(tmp_path, case)
    assert list(found) == list(X)
    for name, one in found.items():
        assert one.supported, (name, one.reason)
        assert (one.code, one.reason, one.hint) == ("", "", "")
        assert one.route[0] == "torch"
        assert one.route[-1] == name
        assert one.precision in one.precisions
        assert one.expected_memory_bytes > memory.NEEDS[name].base_mib << 20
    assert found[X.TENSORRT].route == ("torch", "onnx", "tensorrt")
    assert found[X.COREML].proof is Proof.EVALUATED
    assert found[X.ONNX].proof is Proof.VERIFIED


def test_the_size_that_is_foreseen_is_that_of_the_artefact(case: Case, tmp_path: Path) -> None:
    made = until("convert", tmp_path / "made", case, "openvino", {"precision": "FP16"}).need_artefact()
    told = look(tmp_path / "told", case, OpenVinoOptions(precision="FP16"))[X.OPENVINO].expected_size_bytes
    assert told == pytest.approx(made.path.stat().st_size, rel=0.15)


def test_an_operator_that_targets_lack_is_named(case: Case, odd: None, tmp_path: Path) -> None:
    found = look(tmp_path, case)
    assert found[X.TORCHSCRIPT].supported
    for name in (X.ONNX, X.OPENVINO, X.TENSORRT, X.COREML, X.TFLITE):
        one = found[name]
        assert not one.supported, name
        assert one.code == "unsupported_operator", (name, one.reason)
        assert "kthvalue" in one.reason, one.reason
        assert one.hint
    assert "kthvalue" in found[X.COREML].operator
    assert "kthvalue" in found[X.TFLITE].operator


def test_optimisation_is_of_the_format_that_it_is_meant_for(case: Case, tmp_path: Path) -> None:
    dynamic = parse_optimization({"quantization": {"method": "dynamic"}})
    found = look(tmp_path, case, OnnxOptions(), OpenVinoOptions(), optimization=dynamic, optimized=X.ONNX)
    assert found[X.ONNX].precision is Precision.INT8_DYNAMIC
    assert found[X.OPENVINO].precision is Precision.FP32
    everywhere = look(tmp_path / "all", case, OnnxOptions(), OpenVinoOptions(), optimization=dynamic)
    assert everywhere[X.ONNX].supported
    assert everywhere[X.OPENVINO].code == "unsupported"


def test_an_option_that_the_model_cannot_honour_refuses_its_format_alone(case: Case, tmp_path: Path) -> None:
    found = look(tmp_path, case, OnnxOptions(image_size=(33, 400)), OpenVinoOptions())
    assert found[X.ONNX].code == "unsupported"
    assert "[33, 400]" in found[X.ONNX].reason
    assert found[X.OPENVINO].supported


def test_engines_that_nothing_here_runs_are_built(case: Case, tmp_path: Path) -> None:
    found = look(tmp_path, case, TensorRtOptions(flavor="rtx"))
    assert found[X.TENSORRT].proof is Proof.BUILT


def test_what_would_not_fit_is_refused_before_it_is_tried(case: Case, tmp_path: Path) -> None:
    found = look(tmp_path, case, OnnxOptions(), memory_bytes=64 << 20)
    assert found[X.ONNX].code == "needs_more_memory"
    assert "64 MiB" in found[X.ONNX].reason
    folder = job_folder(tmp_path / "job", case, "onnx")
    run = msgspec.json.decode((folder / "request.json").read_bytes())
    (folder / "request.json").write_bytes(msgspec.json.encode(run | {"memory_bytes": 64 << 20}))
    with pytest.raises(Permanent) as caught:
        child.run(folder, child.Reporter(io.BytesIO()))
    assert caught.value.code == "needs_more_memory"
    assert not (folder / "output" / "model.onnx").exists()


def test_a_check_that_lacks_its_library_says_so_and_fails_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks.CHECKS, X.OPENVINO, checks.Check("nowhere:nothing", ("no_such_library",)))
    found = look(tmp_path, case, OpenVinoOptions(), OnnxOptions())
    assert found[X.OPENVINO].supported
    assert "no_such_library" in found[X.OPENVINO].hint
    assert found[X.ONNX].hint == ""


def test_a_checkpoint_that_cannot_be_used_has_no_forecasts(case: Case, tmp_path: Path) -> None:
    with pytest.raises(Permanent) as caught:
        look(tmp_path, msgspec.structs.replace(case, model="resnet50"))
    assert caught.value.code == "checkpoint_architecture_mismatch"


def test_whatever_a_check_raises_is_a_refusal_of_its_format(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(subject: Subject, wish: Wish) -> None:
        raise ZeroDivisionError("of\nseveral lines")

    monkeypatch.setattr(checks, "read_by_openvino", broken)
    found = look(tmp_path, case, OpenVinoOptions(), OnnxOptions())
    assert (found[X.OPENVINO].supported, found[X.OPENVINO].code) == (False, "conversion_failed")
    assert "ZeroDivisionError: of" in found[X.OPENVINO].reason
    assert found[X.ONNX].supported


def test_one_onnx_file_serves_all_formats_that_are_made_of_the_same(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    plain = Subject._exported
    monkeypatch.setattr(Subject, "_exported", lambda *given: made.append(given[3]) or plain(*given))
    look(tmp_path, case, OnnxOptions(), OpenVinoOptions(), TensorRtOptions())
    assert made == ["onnx-0"]
    made.clear()
    look(tmp_path / "other", case, OnnxOptions(), OpenVinoOptions(embed_preprocessing=False))
    assert made == ["onnx-0", "onnx-1"]


def test_every_format_has_a_check_and_a_need() -> None:
    assert set(checks.CHECKS) == set(memory.NEEDS) == set(X)
    assert set(foresee.OF_FLOAT32) == set(Precision)
