"""What can be exported to what: the design's matrix, what this release executes of it, and what live workers announce."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from contracts.deployment import ContainerConfig, DeploymentConfig, EdgePackageConfig, PlatformEndpointConfig
from contracts.errors import FieldError, Permanent
from contracts.export_options import ExportOptions, TensorRtOptions, TfliteOptions, TorchScriptOptions
from contracts.optimization import OptimizationConfig, ValidationConfig
from contracts.precision import PRECISIONS, precision
from contracts.vocabulary import (
    DeploymentType,
    ExportFormat,
    Framework,
    Precision,
    Proof,
    Quality,
    TargetPlatform,
    TaskType,
)
from contracts.wrappers import PLATFORM_FORMATS

F, X, T = Framework, ExportFormat, TaskType


class Capability(Struct, frozen=True, kw_only=True):
    """One cell of the matrix as the API answers it.

    native     the source model itself is converted; otherwise in two stages, by way of ONNX
    proof      the strongest word that a worker of the right kind can say of such an artefact
    platforms  what an edge package of it can be made for
    """

    supported: bool
    quality: Quality
    native: bool
    preprocessing_embedded: bool
    nms_embedded: bool = False
    tasks: tuple[TaskType, ...] = ()
    precisions: tuple[Precision, ...] = ()
    proof: Proof | None = None
    deployments: tuple[DeploymentType, ...] = ()
    platforms: tuple[TargetPlatform, ...] = ()
    reason: str = ""
    """Why not, where `supported` is false."""


class Availability(Struct, frozen=True, kw_only=True):
    """Whether a live worker can make a format now, and if not, why."""

    available: bool
    reason: str = ""
    flavors: dict[str, str] = {}
    """Of a format with flavours (TensorRT): flavour -> why it cannot be made, empty where it can; one is enough to be available."""


OTHER_POOL = "this worker's pool does not take it"
"""The reason of a worker that is there for other formats, whatever is installed on it."""


class WorkerAnnouncement(Struct, frozen=True, kw_only=True):
    """What a worker writes to the KV bucket `workers` while it lives."""

    worker_id: str
    slots: int
    busy: int
    formats: dict[ExportFormat, Availability]
    frameworks: dict[Framework, Availability]
    sandbox: str
    barriers: dict[str, str] = {}
    """What the sandbox was proven to keep apart at start -> how it was crossed, empty where it holds."""
    toolchain: dict[str, str]


class ExportCapabilities(Struct, frozen=True, kw_only=True):
    """Answer of GET /api/v1/export/capabilities."""

    framework: Framework
    formats: dict[ExportFormat, Capability]
    live: dict[ExportFormat, Availability]


CELLS: dict[tuple[Framework, ExportFormat], tuple[Quality, bool]] = {
    # (quality, native): the design's support matrix, with what has become possible since (decision 14)
    (F.ULTRALYTICS, X.ONNX): (Quality.EXCELLENT, True),
    (F.ULTRALYTICS, X.TENSORRT): (Quality.EXCELLENT, False),
    (F.ULTRALYTICS, X.COREML): (Quality.EXCELLENT, True),
    (F.ULTRALYTICS, X.TFLITE): (Quality.EXCELLENT, True),
    (F.ULTRALYTICS, X.OPENVINO): (Quality.EXCELLENT, False),
    (F.ULTRALYTICS, X.TORCHSCRIPT): (Quality.EXCELLENT, True),
    (F.TIMM, X.ONNX): (Quality.EXCELLENT, True),
    (F.TIMM, X.TENSORRT): (Quality.GOOD, False),
    (F.TIMM, X.COREML): (Quality.GOOD, True),
    (F.TIMM, X.TFLITE): (Quality.FAIR, True),
    (F.TIMM, X.OPENVINO): (Quality.GOOD, False),
    (F.TIMM, X.TORCHSCRIPT): (Quality.EXCELLENT, True),
    (F.HUGGINGFACE, X.ONNX): (Quality.EXCELLENT, True),
    (F.HUGGINGFACE, X.TENSORRT): (Quality.FAIR, False),
    (F.HUGGINGFACE, X.COREML): (Quality.FAIR, True),
    (F.HUGGINGFACE, X.TFLITE): (Quality.FAIR, True),
    (F.HUGGINGFACE, X.OPENVINO): (Quality.EXCELLENT, False),
    (F.HUGGINGFACE, X.TORCHSCRIPT): (Quality.EXCELLENT, True),
}

TASKS: dict[Framework, tuple[TaskType, ...]] = {
    F.ULTRALYTICS: (
        T.OBJECT_DETECTION,
        T.INSTANCE_SEGMENTATION,
        T.IMAGE_CLASSIFICATION,
        T.POSE_ESTIMATION,
        T.ORIENTED_DETECTION,
    ),
    F.TIMM: (T.IMAGE_CLASSIFICATION,),
    F.HUGGINGFACE: (T.IMAGE_CLASSIFICATION, T.OBJECT_DETECTION, T.SEMANTIC_SEGMENTATION),
}
PROOFS: dict[ExportFormat, Proof] = {
    X.ONNX: Proof.VERIFIED,
    X.TORCHSCRIPT: Proof.VERIFIED,
    X.OPENVINO: Proof.VERIFIED,
    X.TFLITE: Proof.VERIFIED,
    X.COREML: Proof.EVALUATED,
    X.TENSORRT: Proof.VERIFIED,
}
EMBEDS_PREPROCESSING = frozenset({X.ONNX, X.TORCHSCRIPT, X.OPENVINO, X.TFLITE, X.COREML, X.TENSORRT})
EMBEDS_NMS = frozenset({X.ONNX, X.TORCHSCRIPT, X.OPENVINO})
"""Formats whose graphs can suppress boxes: a loop or an operator of the format's own that its runtime here executes."""
SERVED_FORMATS = (X.ONNX,)
"""What Triton serves, in an endpoint or in a container: its other backends cannot be run before delivery, so no configuration for
them could be proven."""


def capability(framework: Framework, export_format: ExportFormat) -> Capability:
    """The cell of the matrix, with the reason where it is empty."""
    cell = CELLS.get((framework, export_format))
    if cell is None:
        reason = f"{framework} models cannot be exported to {export_format}"
        return Capability(
            supported=False, quality=Quality.NONE, native=False, preprocessing_embedded=False, reason=reason
        )
    quality, native = cell
    return Capability(
        supported=True,
        quality=quality,
        native=native,
        preprocessing_embedded=export_format in EMBEDS_PREPROCESSING,
        nms_embedded=export_format in EMBEDS_NMS,
        tasks=TASKS[framework],
        precisions=PRECISIONS[export_format],
        proof=PROOFS[export_format],
        deployments=deployments(export_format),
        platforms=platforms(export_format),
    )


def deployments(export_format: ExportFormat) -> tuple[DeploymentType, ...]:
    """How an export of this format can be deployed."""
    served = (DeploymentType.PLATFORM_ENDPOINT, DeploymentType.CONTAINER) if export_format in SERVED_FORMATS else ()
    edge = (DeploymentType.EDGE_PACKAGE,) if platforms(export_format) else ()
    return (DeploymentType.DOWNLOAD, *edge, *served)


def platforms(export_format: ExportFormat) -> tuple[TargetPlatform, ...]:
    """The devices that run this format."""
    return tuple(platform for platform, formats in PLATFORM_FORMATS.items() if export_format in formats)


def require_supported(
    framework: Framework,
    task_type: TaskType,
    options: ExportOptions,
    optimization: OptimizationConfig,
    validation: ValidationConfig,
) -> None:
    """Refuse by name, before any work, what no worker can do; raises Permanent("unsupported")."""
    export_format = ExportFormat(str(options.__struct_config__.tag))
    cell = capability(framework, export_format)
    if not cell.supported:
        formats = [f for f in ExportFormat if capability(framework, f).supported]
        raise _unsupported("export_format", cell.reason, formats)
    if task_type not in cell.tasks:
        raise _unsupported("task_type", f"{framework} {task_type} models cannot be exported", cell.tasks)
    for name in optimization.asked():
        if name not in ("quantization.dynamic", "quantization.weight_only"):
            works = ("quantization.dynamic", "quantization.weight_only")
            raise _unsupported(f"optimization_config.{name}", f"{name} is not available in this release", works)
    precision(options, optimization)
    if validation.enabled:
        raise _unsupported(
            "validation_config.enabled", "validation on a dataset is not available in this release", (False,)
        )
    _require_embedding(options, export_format, task_type)
    for refusal in REFUSALS:
        if refusal.when(options):
            raise _unsupported(refusal.field, refusal.reason, refusal.works)


def _require_embedding(options: ExportOptions, export_format: ExportFormat, task_type: TaskType) -> None:
    if options.embed_preprocessing and export_format not in EMBEDS_PREPROCESSING:
        raise _unsupported("export_config.embed_preprocessing", f"{export_format} graphs cannot take pixels", (False,))
    if options.embed_nms and task_type is not T.OBJECT_DETECTION:
        raise _unsupported(
            "export_config.embed_nms", f"{task_type} models have no boxes to suppress in a graph", (False,)
        )
    if options.embed_nms and export_format not in EMBEDS_NMS:
        reason = f"{export_format} graphs cannot suppress boxes; the wrapper does it"
        raise _unsupported("export_config.embed_nms", reason, (False, *sorted(EMBEDS_NMS)))


class Refusal(NamedTuple):
    """An option that nobody can honour any more, or not with these others: why, and what works."""

    field: str
    when: Callable[[ExportOptions], bool]
    reason: str
    works: tuple[object, ...]


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        "export_config.optimize_for_mobile",
        lambda o: isinstance(o, TorchScriptOptions) and o.optimize_for_mobile,
        "PyTorch has retired optimize_for_mobile and its mobile runtime; the tflite and coreml formats are for phones",
        (False,),
    ),
    Refusal(
        "export_config.supported_ops",
        lambda o: isinstance(o, TfliteOptions) and "SELECT_TF_OPS" in o.supported_ops,
        "models are converted without TensorFlow, into LiteRT's own operators alone, so none could come from SELECT_TF_OPS",
        ("TFLITE_BUILTINS",),
    ),
    Refusal(
        "export_config.batch_size",
        lambda o: isinstance(o, TensorRtOptions) and o.batch_size > o.max_batch_size,
        "the engine takes no more pictures at once than export_config.max_batch_size says",
        ("at most max_batch_size",),
    ),
)


def require_deployable(config: DeploymentConfig, export_format: ExportFormat) -> None:
    """Refuse by name a deployment that nothing here can make; raises Permanent("unsupported")."""
    match config:
        case PlatformEndpointConfig() | ContainerConfig() if export_format not in SERVED_FORMATS:
            kind = "an endpoint" if isinstance(config, PlatformEndpointConfig) else "a container"
            raise _unsupported(
                "export_job_id", f"{export_format} exports cannot be served by {kind}", _exports(SERVED_FORMATS)
            )
        case EdgePackageConfig(target_platform=platform) if export_format not in PLATFORM_FORMATS[platform]:
            reason = f"{platform} cannot run {export_format} exports"
            why, way_out = WHY_NOT.get((platform, export_format), ("", ""))
            sentence = f"{reason}: {why}" if why else reason
            runs = _exports(PLATFORM_FORMATS[platform], f" for {platform}")
            others = ", ".join(platforms(export_format))
            works = f"{runs}; {export_format} exports for {others}" if others else runs
            raise _unsupported("config.target_platform", sentence, works, way_out)


def _exports(formats: Sequence[ExportFormat], more: str = "") -> str:
    return f"exports to {' or '.join(formats)}{more}"


WHY_NOT: dict[tuple[TargetPlatform, ExportFormat], tuple[str, str]] = {
    (TargetPlatform.JETSON, X.TENSORRT): (
        "an engine runs on the kind of GPU that it was built on, and no Jetson builds engines here",
        "With the onnx package, trtexec --onnx=model.onnx builds the engine on the device itself.",
    ),
}
"""Where the refusal of a format needs a reason: why, and another way to the same end."""


def _unsupported(field: str, reason: str, would_work: object, way_out: str = "") -> Permanent:
    values = [str(v) for v in would_work] if isinstance(would_work, (list, tuple)) else [str(would_work)]
    hint = f"What works: {', '.join(values)}. {way_out}".rstrip() if values else "Leave it out."
    return Permanent("unsupported", f"{field}: {reason}.", hint=hint, fields=(FieldError(field, reason),))
