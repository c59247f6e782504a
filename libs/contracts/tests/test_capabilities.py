"""The design's matrix, and refusals by name of what this release does not do."""

import pytest

from contracts import capabilities as cap
from contracts.errors import Permanent
from contracts.export_options import parse_export_options
from contracts.optimization import parse_optimization, parse_validation
from contracts.vocabulary import DeploymentType, ExportFormat, Framework, TaskType

F, X, T = Framework, ExportFormat, TaskType
NONE = (parse_optimization(None), parse_validation(None))


def check(framework=F.ULTRALYTICS, task=T.OBJECT_DETECTION, export_format=X.ONNX, raw=None, rest=NONE):
    cap.require_supported(framework, task, parse_export_options(export_format, raw), *rest)


@pytest.mark.parametrize("framework", F)
@pytest.mark.parametrize("export_format", X)
def test_every_cell_is_answered_and_a_no_has_a_reason(framework, export_format):
    cell = cap.capability(framework, export_format)
    assert cell.supported == bool(cell.tasks) == bool(cell.precisions) == (cell.proof is not None)
    assert cell.supported or cell.reason


def test_an_empty_cell_is_told_by_name(monkeypatch):
    monkeypatch.delitem(cap.CELLS, (F.HUGGINGFACE, X.COREML))
    assert "cannot be exported" in cap.capability(F.HUGGINGFACE, X.COREML).reason
    with pytest.raises(Permanent) as caught:
        check(F.HUGGINGFACE, T.IMAGE_CLASSIFICATION, X.COREML)
    assert caught.value.fields[0].field == "export_format"


@pytest.mark.parametrize("framework", F)
@pytest.mark.parametrize("export_format", X)
def test_what_is_announced_is_accepted(framework, export_format):
    for task in cap.capability(framework, export_format).tasks:
        check(framework, task, export_format)


STATIC = {"quantization": {"method": "static", "calibration_dataset_id": "8d5e1f3c-0000-4000-8000-000000000001"}}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"task": T.SEMANTIC_SEGMENTATION}, "task_type"),
        ({"framework": F.TIMM}, "task_type"),
        ({"task": T.IMAGE_CLASSIFICATION, "raw": {"embed_nms": True}}, "export_config.embed_nms"),
        ({"export_format": X.TORCHSCRIPT, "raw": {"optimize_for_mobile": True}}, "export_config.optimize_for_mobile"),
        ({"export_format": X.TFLITE, "raw": {"supported_ops": ["SELECT_TF_OPS"]}}, "export_config.supported_ops"),
        ({"export_format": X.TENSORRT, "raw": {"batch_size": 9, "max_batch_size": 8}}, "export_config.batch_size"),
        ({"export_format": X.COREML, "raw": {"embed_nms": True}}, "export_config.embed_nms"),
        ({"rest": (parse_optimization(STATIC), NONE[1])}, "optimization_config.quantization.static"),
        ({"rest": (NONE[0], parse_validation({"enabled": True}))}, "validation_config.enabled"),
    ],
)
def test_what_is_not_done_is_refused_by_name_with_what_works(request_, field):
    with pytest.raises(Permanent) as caught:
        check(**request_)
    assert (caught.value.code, caught.value.status) == ("unsupported", 422)
    assert caught.value.fields[0].field == field
    assert caught.value.hint


def test_deployments():
    cap.require_deployable(DeploymentType.PLATFORM_ENDPOINT, X.ONNX)
    cap.require_deployable(DeploymentType.DOWNLOAD, X.TORCHSCRIPT)
    for kind, export_format in ((DeploymentType.CONTAINER, X.ONNX), (DeploymentType.PLATFORM_ENDPOINT, X.TORCHSCRIPT)):
        with pytest.raises(Permanent) as caught:
            cap.require_deployable(kind, export_format)
        assert caught.value.code == "unsupported"
