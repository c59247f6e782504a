"""What can be asked of an export beyond conversion: quantisation, pruning, distillation, and the check of accuracy after it."""

from typing import Annotated, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from contracts.errors import Permanent
from contracts.mistakes import explain

T = TypeVar("T")

Ratio = Annotated[float, Meta(gt=0.0, lt=1.0)]


class DynamicQuantization(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="method", tag="dynamic"
):
    dtype: Literal["qint8", "quint8"] = "qint8"


class WeightOnlyQuantization(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="method", tag="weight_only"
):
    dtype: Literal["qint8", "float16"] = "qint8"


class StaticQuantization(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="method", tag="static"
):
    dtype: Literal["qint8", "quint8"] = "qint8"
    calibration_dataset_id: UUID
    calibration_samples: Annotated[int, Meta(ge=1, le=10_000)] = 100


class QuantizationAwareTraining(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="method", tag="qat"
):
    dtype: Literal["qint8"] = "qint8"
    dataset_id: UUID
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 5


Quantization = DynamicQuantization | WeightOnlyQuantization | StaticQuantization | QuantizationAwareTraining


class StructuredPruning(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="method", tag="structured"
):
    sparsity: Ratio = 0.5
    pruning_schedule: Literal["one_shot", "iterative"] = "one_shot"


class UnstructuredPruning(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="method", tag="unstructured"
):
    sparsity: Ratio = 0.5
    pruning_schedule: Literal["one_shot", "iterative"] = "one_shot"


Pruning = StructuredPruning | UnstructuredPruning


class Distillation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    teacher_training_job_id: UUID
    dataset_id: UUID
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 5


class OptimizationConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    quantization: Quantization | None = None
    pruning: Pruning | None = None
    distillation: Distillation | None = None

    def asked(self) -> tuple[str, ...]:
        """Names of what was asked for, such as "quantization.static"."""
        parts = {"quantization": self.quantization, "pruning": self.pruning, "distillation": self.distillation}
        return tuple(
            f"{name}.{part.__struct_config__.tag}" if part.__struct_config__.tag else name
            for name, part in parts.items()
            if part is not None
        )


class FailThreshold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    accuracy_drop_max: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.02


class ValidationConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = False
    dataset_id: UUID | None = None
    metrics: list[str] = []
    fail_threshold: FailThreshold = FailThreshold()


def parse_optimization(raw: dict[str, object] | None) -> OptimizationConfig:
    """The typed `optimization_config` of a request; raises Permanent("invalid_request") that names the field."""
    return _parse(raw, OptimizationConfig, "optimization_config")


def parse_validation(raw: dict[str, object] | None) -> ValidationConfig:
    """The typed `validation_config` of a request; raises Permanent("invalid_request") that names the field."""
    return _parse(raw, ValidationConfig, "validation_config")


def _parse(raw: dict[str, object] | None, kind: type[T], root: str) -> T:
    try:
        return msgspec.convert(raw or {}, kind)
    except msgspec.ValidationError as error:
        wrong = explain(error, kind, root)
        raise Permanent("invalid_request", f"{wrong.field}: {wrong.message}", fields=(wrong,)) from error
