"""What can be asked of an export, one struct per format; `parse_export_options` is the only way in.

An option is honoured or refused by name: unknown fields are errors, and options that no worker executes yet are refused by
`contracts.capabilities`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from contracts.errors import FieldError, Permanent
from contracts.mistakes import explain
from contracts.vocabulary import ExportFormat, ExportRoute

Batch = Annotated[int, Meta(ge=1, le=1024)]
ImageSize = Annotated[int, Meta(ge=32, le=4096)]
Axes = dict[str, list[Annotated[int, Meta(ge=0, le=3)]]]


class CommonOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """Options that every format knows.

    image_size        [height, width]; the size the model was trained with where not given
    embed_preprocessing  None: on where the format carries it; True: demanded; False: the plain float tensor graph
    embed_nms         detectors: suppression inside the graph
    """

    image_size: tuple[ImageSize, ImageSize] | None = None
    batch_size: Batch = 1
    embed_preprocessing: bool | None = None
    embed_nms: bool = False


class OnnxOptions(CommonOptions, frozen=True, kw_only=True, tag_field="format", tag="onnx"):
    """`dynamic_axes` maps "input" and "output" to dynamic axes (0 batch, 2 height, 3 width), as torch.onnx does.

    None, the default, makes the batch dynamic; {} fixes every dimension.
    """

    opset_version: Annotated[int, Meta(ge=13, le=20)] = 17
    dynamic_axes: Axes | None = None
    optimize_for_inference: bool = True


class TensorRtOptions(CommonOptions, frozen=True, kw_only=True, tag_field="format", tag="tensorrt"):
    """`flavor` "tensorrt" needs a worker with an NVIDIA GPU; "rtx" is built ahead of time, without one, for TensorRT-RTX alone."""

    flavor: Literal["tensorrt", "rtx"] = "tensorrt"
    precision: Literal["fp32", "fp16", "int8"] = "fp16"
    max_batch_size: Batch = 32
    workspace_size_gb: Annotated[float, Meta(gt=0, le=64)] = 4


class CoreMlOptions(CommonOptions, frozen=True, kw_only=True, tag_field="format", tag="coreml"):
    minimum_deployment_target: Literal["iOS15", "iOS16", "iOS17", "iOS18"] = "iOS16"
    compute_units: Literal["all", "cpu_only", "cpu_and_gpu", "cpu_and_ne"] = "all"
    precision: Literal["fp32", "fp16"] = "fp16"


class TfliteOptions(CommonOptions, frozen=True, kw_only=True, tag_field="format", tag="tflite"):
    quantization: Literal["none", "dynamic", "full_integer"] = "none"
    supported_ops: Annotated[tuple[Literal["TFLITE_BUILTINS", "SELECT_TF_OPS"], ...], Meta(min_length=1)] = (
        "TFLITE_BUILTINS",
    )


class ModelOptimizerArgs(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left of the retired Model Optimizer's arguments.

    data_type               the same as `precision`, which it must not contradict
    reverse_input_channels  the model takes BGR pictures; metadata.json says so
    """

    data_type: Literal["FP32", "FP16"] | None = None
    reverse_input_channels: bool = False


class OpenVinoOptions(CommonOptions, frozen=True, kw_only=True, tag_field="format", tag="openvino"):
    precision: Literal["FP32", "FP16", "INT8"] | None = None
    """FP32 where neither this nor `data_type` says otherwise."""
    model_optimizer_args: ModelOptimizerArgs | None = None


class TorchScriptOptions(CommonOptions, frozen=True, kw_only=True, tag_field="format", tag="torchscript"):
    method: Literal["trace", "script"] = "trace"
    optimize_for_mobile: bool = False


ExportOptions = OnnxOptions | TensorRtOptions | CoreMlOptions | TfliteOptions | OpenVinoOptions | TorchScriptOptions

OPTIONS: dict[ExportFormat, type[ExportOptions]] = {
    ExportFormat.ONNX: OnnxOptions,
    ExportFormat.TENSORRT: TensorRtOptions,
    ExportFormat.COREML: CoreMlOptions,
    ExportFormat.TFLITE: TfliteOptions,
    ExportFormat.OPENVINO: OpenVinoOptions,
    ExportFormat.TORCHSCRIPT: TorchScriptOptions,
}


FLAVOR_ROUTES: dict[str, ExportRoute] = {"tensorrt": ExportRoute.TENSORRT, "rtx": ExportRoute.TENSORRT_RTX}
"""Builders of engines are different workers, by `TensorRtOptions.flavor`."""


def export_route(options: ExportOptions) -> ExportRoute:
    """What the workers that can carry out these options listen to."""
    if isinstance(options, TensorRtOptions):
        return FLAVOR_ROUTES[options.flavor]
    return ExportRoute(str(options.__struct_config__.tag))


def parse_export_options(export_format: ExportFormat, raw: dict[str, object] | None) -> ExportOptions:
    """The typed options of a request's `export_config`; `format` inside it may be left out but must not disagree.

    Raises Permanent("invalid_request") that names the field.
    """
    given = {"format": str(export_format), **(raw or {})}
    if given["format"] != export_format:
        raise _invalid("export_config.format", f"is {given['format']!r} but export_format is {str(export_format)!r}")
    try:
        return msgspec.convert(given, OPTIONS[export_format])
    except msgspec.ValidationError as error:
        wrong = explain(error, OPTIONS[export_format], "export_config")
        raise _invalid(wrong.field, wrong.message) from error


def _invalid(field: str, message: str) -> Permanent:
    return Permanent("invalid_request", f"{field}: {message}", fields=(FieldError(field, message),))
