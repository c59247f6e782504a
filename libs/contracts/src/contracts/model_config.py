"""Triton's model configuration: one structure, as config.pbtxt for repositories and images and as JSON for load calls.

Dims leave the batch axis out exactly where `max_batch_size` is set, and that is set only where the artefact's own batch
axis is dynamic in its input and in every output. The full configuration is always written: nothing is left to be guessed.
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from typing import Literal

import msgspec
from msgspec import Struct

from contracts.deployment import PlatformEndpointConfig
from contracts.errors import Permanent
from contracts.keys import MODEL_FILES
from contracts.model_package import ModelMetadata, TensorSpec
from contracts.vocabulary import ExportFormat

BACKENDS: dict[ExportFormat, str] = {ExportFormat.ONNX: "onnxruntime"}

DATA_TYPES: dict[str, str] = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}


class Tensor(Struct, frozen=True, kw_only=True):
    name: str
    data_type: str
    dims: tuple[int, ...]


class InstanceGroup(Struct, frozen=True, kw_only=True):
    kind: str
    count: int


class DynamicBatching(Struct, frozen=True, kw_only=True):
    max_queue_delay_microseconds: int


class Parameter(Struct, frozen=True):
    string_value: str


class Versions(Struct, frozen=True):
    versions: tuple[int, ...]


class VersionPolicy(Struct, frozen=True):
    specific: Versions


class ModelConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Field names are those of Triton's ModelConfig message."""

    name: str
    backend: str
    default_model_filename: str
    max_batch_size: int
    version_policy: VersionPolicy
    input: tuple[Tensor, ...]
    output: tuple[Tensor, ...]
    instance_group: tuple[InstanceGroup, ...]
    parameters: dict[str, Parameter]
    dynamic_batching: DynamicBatching | None = None

    def to_json(self) -> str:
        """For the `config` parameter of a load call."""
        return msgspec.json.encode(self).decode()

    def to_pbtxt(self) -> str:
        """The text of config.pbtxt."""
        lines = [
            f"name: {_text(self.name)}",
            f"backend: {_text(self.backend)}",
            f"default_model_filename: {_text(self.default_model_filename)}",
            f"max_batch_size: {self.max_batch_size}",
            f"version_policy {{ specific {{ versions: {list(self.version_policy.specific.versions)} }} }}",
            *(_tensor("input", tensor) for tensor in self.input),
            *(_tensor("output", tensor) for tensor in self.output),
            *(f"instance_group [ {{ kind: {group.kind} count: {group.count} }} ]" for group in self.instance_group),
        ]
        if self.dynamic_batching is not None:
            delay = self.dynamic_batching.max_queue_delay_microseconds
            lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}")
        for key, parameter in self.parameters.items():
            value = _text(parameter.string_value)
            lines.append(f"parameters {{ key: {_text(key)} value: {{ string_value: {value} }} }}")
        return "\n".join(lines) + "\n"


def build(
    name: str,
    metadata: ModelMetadata,
    endpoint: PlatformEndpointConfig,
    *,
    export_format: ExportFormat,
    version: int,
    threads: int | None = None,
    kind: Literal["KIND_CPU", "KIND_AUTO"] = "KIND_CPU",
) -> ModelConfig:
    """The configuration of one served model; Permanent("unsupported") for what Triton cannot serve here.

    `threads` is how many work on one request (0: all cores, None: as the backend likes); `kind` says what serves it: the
    processor, or a GPU where there is one.
    """
    backend = BACKENDS.get(export_format)
    if backend is None:
        raise Permanent(
            "unsupported", f"{export_format} models are not served.", hint=f"What works: {', '.join(BACKENDS)}."
        )
    outputs = tuple(metadata.output_spec.values())
    batched = has_dynamic_batch(metadata)
    return ModelConfig(
        name=name,
        backend=backend,
        default_model_filename=MODEL_FILES[export_format],
        max_batch_size=endpoint.max_batch_size if batched else 0,
        version_policy=VersionPolicy(Versions((version,))),
        input=(_described(metadata.input_spec, batched=batched),),
        output=tuple(_described(spec, batched=batched) for spec in outputs),
        instance_group=(InstanceGroup(kind=kind, count=endpoint.instances),),
        parameters={} if threads is None else {"intra_op_thread_count": Parameter(str(threads))},
        dynamic_batching=DynamicBatching(max_queue_delay_microseconds=endpoint.max_queue_delay_us) if batched else None,
    )


def has_dynamic_batch(metadata: ModelMetadata) -> bool:
    """Whether the first axis of the input and of every output is free."""
    specs = (metadata.input_spec, *metadata.output_spec.values())
    return all(spec.shape[:1] == (-1,) for spec in specs)


def warm_up_shape(metadata: ModelMetadata) -> tuple[int, ...]:
    """The shape of one picture's input, batch axis included: free height and width are the preprocessing's."""
    height, width = metadata.preprocessing.resize.size
    free = iter((height, width))
    return tuple(1 if axis == 0 and size < 0 else size if size > 0 else next(free, 1)
                 for axis, size in enumerate(metadata.input_spec.shape))  # fmt: skip


def _described(spec: TensorSpec, *, batched: bool) -> Tensor:
    data_type = DATA_TYPES.get(spec.dtype)
    if data_type is None:
        raise Permanent("unsupported", f"Tensor {spec.name} has the type {spec.dtype}, which cannot be served.")
    return Tensor(name=spec.name, data_type=data_type, dims=spec.shape[1:] if batched else spec.shape)


def _tensor(role: str, tensor: Tensor) -> str:
    return f"{role} [ {{ name: {_text(tensor.name)} data_type: {tensor.data_type} dims: {list(tensor.dims)} }} ]"


def _text(value: str) -> str:
    """A protobuf text string; the escapes of JSON are a subset of its own, apart from \\u."""
    return '"' + "".join(_escaped(byte) for byte in value.encode()) + '"'


def _escaped(byte: int) -> str:
    char = chr(byte)
    return char if 0x20 <= byte < 0x7F and char not in '"\\' else f"\\{byte:03o}"
