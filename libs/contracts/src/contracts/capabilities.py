"""What can be exported to what: the design's matrix, what this release executes of it, and what live workers announce."""

from msgspec import Struct

from contracts.errors import FieldError, Permanent
from contracts.export_options import ExportOptions, TorchScriptOptions
from contracts.optimization import OptimizationConfig, ValidationConfig
from contracts.vocabulary import DeploymentType, ExportFormat, Framework, Quality, TaskType

F, X, T = Framework, ExportFormat, TaskType


class Capability(Struct, frozen=True, kw_only=True):
    """One cell of the matrix as the API answers it."""

    supported: bool
    quality: Quality
    native: bool
    preprocessing_embedded: bool
    tasks: tuple[TaskType, ...] = ()
    reason: str = ""
    """Why not, where `supported` is false."""


class Availability(Struct, frozen=True, kw_only=True):
    """Whether a live worker can make a format now, and if not, why."""

    available: bool
    reason: str = ""


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


DESIGN: dict[tuple[Framework, ExportFormat], tuple[Quality, bool, bool]] = {
    # (quality, native, preprocessing embedded): the design's support matrix
    (F.ULTRALYTICS, X.ONNX): (Quality.EXCELLENT, True, True),
    (F.ULTRALYTICS, X.TENSORRT): (Quality.EXCELLENT, True, True),
    (F.ULTRALYTICS, X.COREML): (Quality.EXCELLENT, True, True),
    (F.ULTRALYTICS, X.TFLITE): (Quality.EXCELLENT, True, False),
    (F.ULTRALYTICS, X.OPENVINO): (Quality.EXCELLENT, True, True),
    (F.ULTRALYTICS, X.TORCHSCRIPT): (Quality.EXCELLENT, True, True),
    (F.TIMM, X.ONNX): (Quality.EXCELLENT, True, True),
    (F.TIMM, X.TENSORRT): (Quality.GOOD, False, True),
    (F.TIMM, X.COREML): (Quality.GOOD, False, True),
    (F.TIMM, X.TFLITE): (Quality.FAIR, False, False),
    (F.TIMM, X.OPENVINO): (Quality.GOOD, False, True),
    (F.TIMM, X.TORCHSCRIPT): (Quality.EXCELLENT, True, True),
    (F.HUGGINGFACE, X.ONNX): (Quality.EXCELLENT, True, True),
    (F.HUGGINGFACE, X.TENSORRT): (Quality.FAIR, False, True),
    (F.HUGGINGFACE, X.TFLITE): (Quality.FAIR, False, False),
    (F.HUGGINGFACE, X.OPENVINO): (Quality.EXCELLENT, True, True),
    (F.HUGGINGFACE, X.TORCHSCRIPT): (Quality.EXCELLENT, True, True),
}

EXECUTED_FORMATS = (X.ONNX, X.TORCHSCRIPT)
EXECUTED_TASKS: dict[Framework, tuple[TaskType, ...]] = {
    F.ULTRALYTICS: (T.OBJECT_DETECTION, T.IMAGE_CLASSIFICATION),
    F.TIMM: (T.IMAGE_CLASSIFICATION,),
    F.HUGGINGFACE: (T.IMAGE_CLASSIFICATION,),
}
EXECUTED_OPTIMIZATIONS: tuple[str, ...] = ()
EXECUTED_DEPLOYMENTS = (DeploymentType.DOWNLOAD, DeploymentType.PLATFORM_ENDPOINT)
SERVED_FORMATS = (X.ONNX,)


def capability(framework: Framework, export_format: ExportFormat) -> Capability:
    """The cell of the matrix, with the reason where it is empty."""
    cell = DESIGN.get((framework, export_format))
    if cell is None or export_format not in EXECUTED_FORMATS:
        quality, native, embedded = cell or (Quality.NONE, False, False)
        reason = f"{framework} models cannot be exported to {export_format}"
        return Capability(
            supported=False,
            quality=quality,
            native=native,
            preprocessing_embedded=embedded,
            reason=reason if cell is None else f"export to {export_format} is not available in this release",
        )
    quality, native, embedded = cell
    return Capability(
        supported=True, quality=quality, native=native, preprocessing_embedded=embedded, tasks=EXECUTED_TASKS[framework]
    )


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
        raise _unsupported("task_type", f"{framework} {task_type} models cannot be exported yet", cell.tasks)
    for name in optimization.asked():
        if name not in EXECUTED_OPTIMIZATIONS:
            raise _unsupported(
                f"optimization_config.{name}", f"{name} is not available in this release", EXECUTED_OPTIMIZATIONS
            )
    if validation.enabled:
        raise _unsupported(
            "validation_config.enabled", "validation on a dataset is not available in this release", (False,)
        )
    if options.embed_nms and task_type is not T.OBJECT_DETECTION:
        raise _unsupported("export_config.embed_nms", f"{task_type} models have no boxes to suppress", (False,))
    if isinstance(options, TorchScriptOptions) and options.optimize_for_mobile:
        raise _unsupported("export_config.optimize_for_mobile", "PyTorch has retired optimize_for_mobile", (False,))


def require_deployable(deployment_type: DeploymentType, export_format: ExportFormat) -> None:
    """Refuse by name a deployment that nothing here can make; raises Permanent("unsupported")."""
    if deployment_type not in EXECUTED_DEPLOYMENTS:
        raise _unsupported(
            "deployment_type", f"{deployment_type} is not available in this release", EXECUTED_DEPLOYMENTS
        )
    if deployment_type is DeploymentType.PLATFORM_ENDPOINT and export_format not in SERVED_FORMATS:
        raise _unsupported("export_job_id", f"a {export_format} export cannot be served by an endpoint", SERVED_FORMATS)


def _unsupported(field: str, reason: str, would_work: object) -> Permanent:
    values = [str(v) for v in would_work] if isinstance(would_work, (list, tuple)) else [str(would_work)]
    hint = f"What works: {', '.join(values)}." if values else "Leave it out."
    return Permanent("unsupported", f"{field}: {reason}.", hint=hint, fields=(FieldError(field, reason),))
