"""The design's matrix, and refusals by name of what this release does not do."""

import pytest

from contracts import capabilities as cap
from contracts.deployment import (
    CONFIGS,
    ContainerConfig,
    DownloadConfig,
    EdgePackageConfig,
    PlatformEndpointConfig,
)
from contracts.errors import Permanent
from contracts.export_options import parse_export_options
from contracts.optimization import parse_optimization, parse_validation
from contracts.vocabulary import DeploymentType, ExportFormat, Framework, TargetPlatform, TaskType

F, X, T, K = Framework, ExportFormat, TaskType, DeploymentType
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


def edge(platform):
    return EdgePackageConfig(target_platform=platform)


@pytest.mark.parametrize(
    ("config", "export_format"),
    [
        (PlatformEndpointConfig(), X.ONNX),
        (DownloadConfig(), X.TORCHSCRIPT),
        (ContainerConfig(), X.ONNX),
        (edge(TargetPlatform.IOS), X.COREML),
        (edge(TargetPlatform.LINUX), X.TENSORRT),
    ],
)
def test_what_can_be_deployed(config, export_format):
    cap.require_deployable(config, export_format)


@pytest.mark.parametrize(
    ("config", "export_format", "field", "works"),
    [
        (PlatformEndpointConfig(), X.TORCHSCRIPT, "export_job_id", ("onnx",)),
        (ContainerConfig(), X.OPENVINO, "export_job_id", ("onnx",)),
        (edge(TargetPlatform.IOS), X.TFLITE, "config.target_platform", ("coreml", "onnx")),
        (edge(TargetPlatform.JETSON), X.TENSORRT, "config.target_platform", ("onnx", "trtexec")),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_what_can(config, export_format, field, works):
    with pytest.raises(Permanent) as caught:
        cap.require_deployable(config, export_format)
    assert caught.value.code == "unsupported"
    assert caught.value.fields[0].field == field
    assert all(word in caught.value.hint for word in works)


def test_the_matrix_says_how_each_format_can_be_deployed():
    def can(config, export_format):
        try:
            cap.require_deployable(config, export_format)
        except Permanent:
            return False
        return True

    for export_format in X:
        cell = cap.capability(F.ULTRALYTICS, export_format)
        assert cell.platforms == tuple(one for one in TargetPlatform if can(edge(one), export_format))
        others = {kind for kind in CONFIGS if kind is not K.EDGE_PACKAGE and can(CONFIGS[kind](), export_format)}
        assert set(cell.deployments) == others | ({K.EDGE_PACKAGE} if cell.platforms else set())
