"""Options of a request: typed, or refused by the name of the field."""

import msgspec
import pytest

from contracts.deployment import parse_deployment_config
from contracts.errors import Permanent
from contracts.export_options import OPTIONS, OnnxOptions, parse_export_options
from contracts.optimization import parse_optimization, parse_validation
from contracts.vocabulary import DeploymentType, ExportFormat

X = ExportFormat


@pytest.mark.parametrize("export_format", ExportFormat)
def test_every_format_has_defaults(export_format):
    options = parse_export_options(export_format, None)
    assert isinstance(options, OPTIONS[export_format])
    assert msgspec.json.decode(msgspec.json.encode(options))["format"] == export_format


DESIGN = {
    X.ONNX: {
        "format": "onnx",
        "opset_version": 17,
        "dynamic_axes": {"input": [0, 2, 3], "output": [0]},
        "optimize_for_inference": True,
    },
    X.TENSORRT: {"format": "tensorrt", "precision": "fp16", "max_batch_size": 32, "workspace_size_gb": 4},
    X.COREML: {"format": "coreml", "minimum_deployment_target": "iOS15", "compute_units": "all"},
    X.TFLITE: {"format": "tflite", "quantization": "dynamic", "supported_ops": ["TFLITE_BUILTINS", "SELECT_TF_OPS"]},
    X.OPENVINO: {"format": "openvino", "precision": "FP16", "model_optimizer_args": {"data_type": "FP16"}},
    X.TORCHSCRIPT: {"format": "torchscript", "method": "trace", "optimize_for_mobile": False},
}


@pytest.mark.parametrize("export_format", ExportFormat)
def test_the_examples_of_the_design_are_understood(export_format):
    options = parse_export_options(export_format, DESIGN[export_format])
    said = msgspec.json.decode(msgspec.json.encode(options))
    assert all(contains(said[name], wanted) for name, wanted in DESIGN[export_format].items())


def contains(found, wanted):
    """Whether it says what is wanted; of an object it may say more."""
    return wanted.items() <= found.items() if isinstance(wanted, dict) else found == wanted


@pytest.mark.parametrize(
    ("export_format", "raw", "field"),
    [
        (X.ONNX, {"opset": 17}, "export_config.opset"),
        (X.ONNX, {"opset_version": 12}, "export_config.opset_version"),
        (X.ONNX, {"opset_version": "17"}, "export_config.opset_version"),
        (X.ONNX, {"dynamic_axes": {"input": [4]}}, "export_config.dynamic_axes[...][0]"),
        (X.ONNX, {"image_size": [640]}, "export_config.image_size"),
        (X.ONNX, {"image_size": [640, 31]}, "export_config.image_size[1]"),
        (X.ONNX, {"batch_size": 0}, "export_config.batch_size"),
        (X.ONNX, {"format": "tensorrt"}, "export_config.format"),
        (X.ONNX, {"precision": "fp16"}, "export_config.precision"),
        (X.TENSORRT, {"precision": "fp8"}, "export_config.precision"),
        (
            X.OPENVINO,
            {"model_optimizer_args": {"reverse_input_channels": "yes"}},
            "export_config.model_optimizer_args.reverse_input_channels",
        ),
        (X.TORCHSCRIPT, {"method": "freeze"}, "export_config.method"),
    ],
)
def test_what_is_wrong_is_named(export_format, raw, field):
    with pytest.raises(Permanent) as caught:
        parse_export_options(export_format, raw)
    assert caught.value.code == "invalid_request"
    assert [error.field for error in caught.value.fields] == [field]
    assert field in caught.value.message


def test_asked_lists_what_is_to_be_done():
    raw = {
        "quantization": {"method": "dynamic", "dtype": "qint8"},
        "pruning": {"method": "structured", "sparsity": 0.5},
    }
    assert parse_optimization(raw).asked() == ("quantization.dynamic", "pruning.structured")
    assert parse_optimization(None).asked() == ()


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"quantisation": {}}, "optimization_config.quantisation"),
        ({"quantization": {"method": "magic"}}, "optimization_config.quantization.method"),
        ({"quantization": {"method": "static"}}, "optimization_config.quantization.calibration_dataset_id"),
        ({"pruning": {"method": "structured", "sparsity": 1.0}}, "optimization_config.pruning.sparsity"),
    ],
)
def test_a_wrong_optimization_is_named(raw, field):
    with pytest.raises(Permanent) as caught:
        parse_optimization(raw)
    assert caught.value.fields[0].field == field


def test_a_wrong_validation_is_named():
    with pytest.raises(Permanent, match=r"validation_config\.fail_threshold\.accuracy_drop_max"):
        parse_validation({"fail_threshold": {"accuracy_drop_max": 2}})


def test_the_endpoint_of_the_design_needs_more_replicas_than_there_are():
    config = {"auto_scaling": {"min_replicas": 2, "max_replicas": 10, "target_cpu_utilization": 70}}
    with pytest.raises(Permanent) as caught:
        parse_deployment_config(DeploymentType.PLATFORM_ENDPOINT, config)
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("kind", DeploymentType)
def test_every_deployment_type_has_defaults_and_refuses_unknown_fields(kind):
    needed = {"target_platform": "linux"} if kind is DeploymentType.EDGE_PACKAGE else None
    assert parse_deployment_config(kind, needed).__struct_config__.tag == kind
    with pytest.raises(Permanent, match=r"config\.nonsense"):
        parse_deployment_config(kind, {"nonsense": 1})


def test_an_edge_package_is_for_a_device_that_is_named():
    with pytest.raises(Permanent, match=r"config\.target_platform: is missing; what works: ios, android"):
        parse_deployment_config(DeploymentType.EDGE_PACKAGE, None)


def test_an_option_of_another_type_is_told_which_there_are():
    with pytest.raises(
        Permanent, match=r"config\.image_name: is not an option here; what works: target_platform, incl"
    ):
        parse_deployment_config(DeploymentType.EDGE_PACKAGE, {"target_platform": "ios", "image_name": "x"})


def test_options_are_frozen():
    with pytest.raises(AttributeError):
        OnnxOptions().opset_version = 18
