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
    assert cell.supported == bool(cell.tasks)
    assert cell.supported or cell.reason
    assert cell.supported <= (export_format in cap.EXECUTED_FORMATS)


def test_the_one_hole_of_the_design_s_matrix():
    holes = {(f, x) for f in F for x in X if (f, x) not in cap.DESIGN}
    assert holes == {(F.HUGGINGFACE, X.COREML)}
    assert "cannot be exported" in cap.capability(F.HUGGINGFACE, X.COREML).reason


@pytest.mark.parametrize("framework", F)
@pytest.mark.parametrize("export_format", cap.EXECUTED_FORMATS)
def test_what_is_announced_is_accepted(framework, export_format):
    for task in cap.capability(framework, export_format).tasks:
        check(framework, task, export_format)


STATIC = {"quantization": {"method": "static", "calibration_dataset_id": "8d5e1f3c-0000-4000-8000-000000000001"}}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"export_format": X.COREML}, "export_format"),
        ({"task": T.POSE_ESTIMATION}, "task_type"),
        ({"framework": F.TIMM}, "task_type"),
        ({"task": T.IMAGE_CLASSIFICATION, "raw": {"embed_nms": True}}, "export_config.embed_nms"),
        ({"export_format": X.TORCHSCRIPT, "raw": {"optimize_for_mobile": True}}, "export_config.optimize_for_mobile"),
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
