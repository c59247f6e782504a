"""Which arithmetic an export asks for, and which formats have it: the one place where options and optimisations meet."""

from contracts.errors import FieldError, Permanent
from contracts.export_options import (
    CoreMlOptions,
    ExportOptions,
    OpenVinoOptions,
    TensorRtOptions,
    TfliteOptions,
)
from contracts.optimization import DynamicQuantization, OptimizationConfig, WeightOnlyQuantization
from contracts.vocabulary import ExportFormat, Precision

P, X = Precision, ExportFormat

PRECISIONS: dict[ExportFormat, tuple[Precision, ...]] = {
    X.ONNX: (P.FP32, P.FP16, P.INT8_DYNAMIC),
    X.TENSORRT: (P.FP32, P.FP16),
    X.COREML: (P.FP32, P.FP16, P.INT8_WEIGHTS),
    X.TFLITE: (P.FP32, P.FP16, P.INT8_WEIGHTS, P.INT8_DYNAMIC),
    X.OPENVINO: (P.FP32, P.FP16, P.INT8_WEIGHTS),
    X.TORCHSCRIPT: (P.FP32,),
}
"""What a worker can make of each format."""

OF_QUANTIZATION: dict[tuple[type, str], Precision] = {
    (DynamicQuantization, "qint8"): P.INT8_DYNAMIC,
    (DynamicQuantization, "quint8"): P.INT8_DYNAMIC,
    (WeightOnlyQuantization, "qint8"): P.INT8_WEIGHTS,
    (WeightOnlyQuantization, "float16"): P.FP16,
}


def precision(options: ExportOptions, optimization: OptimizationConfig) -> Precision:
    """The arithmetic that the options and the optimisation ask for together.

    Raises Permanent("unsupported") where they contradict each other or the format has no such arithmetic.
    """
    export_format = ExportFormat(str(options.__struct_config__.tag))
    field, own = _of_options(options)
    quantization = optimization.quantization
    if isinstance(quantization, DynamicQuantization) and quantization.dtype == "quint8" and export_format is not X.ONNX:
        raise refused("optimization_config.quantization.dtype", f"{export_format} has no quint8 weights", export_format)
    asked = OF_QUANTIZATION.get((type(quantization), quantization.dtype)) if quantization else None
    if asked is not None and own not in {asked, _default(options)}:
        raise refused(
            field, f"{own} contradicts optimization_config.quantization, which asks for {asked}", export_format
        )
    wanted = asked or own
    if wanted not in PRECISIONS[export_format]:
        raise refused(
            "optimization_config.quantization" if asked else field,
            f"{export_format} has no {wanted} here",
            export_format,
        )
    if wanted is P.INT8_WEIGHTS and isinstance(options, CoreMlOptions) and options.minimum_deployment_target == "iOS15":
        field, reason = "export_config.minimum_deployment_target", "int8 weights need iOS16 or newer"
        raise Permanent(
            "unsupported", f"{field}: {reason}.", hint="What works: iOS16.", fields=(FieldError(field, reason),)
        )
    return wanted


def _of_options(options: ExportOptions) -> tuple[str, Precision]:
    """The option that speaks of arithmetic and what it asks for."""
    if isinstance(options, (CoreMlOptions, TensorRtOptions)):
        if options.precision == "int8":
            raise refused("export_config.precision", STATIC, X.TENSORRT)
        return "export_config.precision", Precision(options.precision)
    if isinstance(options, OpenVinoOptions):
        return _of_openvino(options)
    if isinstance(options, TfliteOptions):
        if options.quantization == "full_integer":
            raise refused("export_config.quantization", STATIC, X.TFLITE)
        return "export_config.quantization", P.INT8_DYNAMIC if options.quantization == "dynamic" else P.FP32
    return "export_config", P.FP32


def _of_openvino(options: OpenVinoOptions) -> tuple[str, Precision]:
    told = {"FP32": P.FP32, "FP16": P.FP16, "INT8": P.INT8_WEIGHTS}
    data_type = options.model_optimizer_args.data_type if options.model_optimizer_args else None
    if data_type is not None and options.precision is not None and data_type != options.precision:
        field = "export_config.model_optimizer_args.data_type"
        raise refused(field, f"{data_type} contradicts export_config.precision {options.precision}", X.OPENVINO)
    return "export_config.precision", told[data_type or options.precision or "FP32"]


def _default(options: ExportOptions) -> Precision:
    return _of_options(type(options)())[1]


STATIC = "static int8 needs calibration pictures, which is not available in this release"


def refused(field: str, reason: str, export_format: ExportFormat) -> Permanent:
    """The refusal of one field, with the arithmetic that the format has."""
    works = ", ".join(PRECISIONS[export_format])
    return Permanent(
        "unsupported", f"{field}: {reason}.", hint=f"What works: {works}.", fields=(FieldError(field, reason),)
    )
