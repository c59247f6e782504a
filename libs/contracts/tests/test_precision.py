"""The arithmetic that options and optimisation ask for together, and what is refused by name."""

import pytest

from contracts.errors import Permanent
from contracts.export_options import parse_export_options
from contracts.optimization import parse_optimization
from contracts.precision import PRECISIONS, precision
from contracts.vocabulary import ExportFormat, Precision

DYNAMIC = {"quantization": {"method": "dynamic"}}
UNSIGNED = {"quantization": {"method": "dynamic", "dtype": "quint8"}}
HALF = {"quantization": {"method": "weight_only", "dtype": "float16"}}
WEIGHTS = {"quantization": {"method": "weight_only"}}


def asked(export_format: str, config: dict[str, object], optimization: dict[str, object] | None = None) -> Precision:
    options = parse_export_options(ExportFormat(export_format), config)
    return precision(options, parse_optimization(optimization))


@pytest.mark.parametrize(
    ("export_format", "config", "optimization", "wanted"),
    [
        ("onnx", {}, None, "fp32"),
        ("onnx", {}, HALF, "fp16"),
        ("onnx", {}, UNSIGNED, "int8_dynamic"),
        ("tflite", {"quantization": "dynamic"}, None, "int8_dynamic"),
        ("tflite", {}, WEIGHTS, "int8_weights"),
        ("coreml", {}, None, "fp16"),
        ("coreml", {}, WEIGHTS, "int8_weights"),
        ("openvino", {}, None, "fp32"),
        ("openvino", {"precision": "INT8"}, None, "int8_weights"),
        ("openvino", {"model_optimizer_args": {"data_type": "FP16"}}, None, "fp16"),
        ("tensorrt", {"precision": "fp32"}, None, "fp32"),
        ("torchscript", {}, None, "fp32"),
    ],
)
def test_what_is_asked_for_is_one_arithmetic(
    export_format: str, config: dict[str, object], optimization: dict[str, object] | None, wanted: str
) -> None:
    assert asked(export_format, config, optimization) == wanted


@pytest.mark.parametrize(
    ("export_format", "config", "optimization", "field"),
    [
        ("openvino", {"precision": "FP32", "model_optimizer_args": {"data_type": "FP16"}}, None, "data_type"),
        ("openvino", {"precision": "INT8"}, HALF, "precision"),
        ("openvino", {}, DYNAMIC, "quantization"),
        ("tensorrt", {"precision": "int8"}, None, "precision"),
        ("tflite", {"quantization": "full_integer"}, None, "quantization"),
        ("tflite", {}, UNSIGNED, "dtype"),
        ("torchscript", {}, HALF, "quantization"),
        ("coreml", {"minimum_deployment_target": "iOS15"}, WEIGHTS, "minimum_deployment_target"),
    ],
)
def test_what_contradicts_itself_or_is_not_there_is_refused_by_name(
    export_format: str, config: dict[str, object], optimization: dict[str, object] | None, field: str
) -> None:
    with pytest.raises(Permanent) as refused:
        asked(export_format, config, optimization)
    assert refused.value.code == "unsupported"
    assert refused.value.fields[0].field.endswith(field)
    assert refused.value.hint.startswith("What works: ")


def test_no_format_is_without_float32() -> None:
    assert all(Precision.FP32 in each for each in PRECISIONS.values())


def test_an_empty_list_of_operators_is_no_choice() -> None:
    with pytest.raises(Permanent, match="supported_ops"):
        parse_export_options(ExportFormat.TFLITE, {"supported_ops": []})
