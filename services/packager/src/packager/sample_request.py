"""One request that a served model really answers: a golden picture's tensor in KServe's v2 protocol, as JSON or as bytes."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contracts.errors import Permanent
from contracts.model_config import DATA_TYPES
from contracts.model_package import ModelMetadata
from processing import goldens
from processing.errors import ProcessingError
from processing.pipeline import Pipeline

JSON_BYTES = 16 << 20
"""The largest request that is written as JSON: one picture of 640 x 640 in float32 has 13 MB, which editors still open."""
REQUEST_BYTES = 64_000_000
"""Triton refuses more than 64 MiB in one HTTP request unless it is told otherwise."""
SHOWN = 4
_ROW = 1 << 16

Array = NDArray[Any]


class SampleRequest(Struct, frozen=True, kw_only=True):
    """The body of one request, the header that says where its JSON ends (0: it is JSON to the end), and what the answer holds."""

    body: bytes
    json_bytes: int
    tensor: str
    binary_bytes: int
    beginnings: dict[str, list[float]]
    """The first numbers of each output as they were measured."""
    shapes: dict[str, list[int]]

    @property
    def file(self) -> str:
        """What the body is called in a package."""
        return "input.bin" if self.json_bytes else "input.json"


def build(metadata: ModelMetadata, vectors: bytes) -> SampleRequest:
    """The request for the first golden picture in which something was found.

    Raises Permanent `packaging_failed` for golden vectors that are not this model's.
    """
    try:
        told, arrays = goldens.read(vectors)
        example = _example(told["model"])
        pipeline = Pipeline.from_metadata(msgspec.to_builtins(metadata))
        tensor, _ = pipeline.preprocess(arrays[example["picture"]])
        beginnings, shapes = _answer(metadata, example["outputs"], arrays)
    except (ProcessingError, KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
        raise Permanent("packaging_failed", f"the golden vectors cannot be asked of a server: {error!r}") from error
    batch = max(1, metadata.input_spec.shape[0])
    shapes = {name: [batch, *shape[1:]] for name, shape in shapes.items()}
    if batch * tensor.nbytes > REQUEST_BYTES:
        raise Permanent(
            "unsupported",
            f"One request of this model has {batch * tensor.nbytes} bytes; Triton takes {REQUEST_BYTES} by HTTP.",
            hint="What works: an export with a smaller batch_size, or with a free batch axis.",
        )
    return _request(metadata.input_spec.name, np.repeat(tensor, batch, axis=0), beginnings, shapes)


def _example(model: list[dict[str, Any]]) -> dict[str, Any]:
    return next((one for one in model if one["predictions"]), model[0])


def _answer(
    metadata: ModelMetadata, outputs: Mapping[str, Any], arrays: Mapping[str, Array]
) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    beginnings, shapes = {}, {}
    for spec in metadata.output_spec.values():
        stored = outputs[spec.name]
        known = SHOWN if int(stored["stride"]) == 1 else 1
        beginnings[spec.name] = [float(value) for value in arrays[stored["array"]].ravel()[:known]]
        shapes[spec.name] = [int(side) for side in stored["shape"]]
    return beginnings, shapes


def _request(
    name: str, tensor: Array, beginnings: dict[str, list[float]], shapes: dict[str, list[int]]
) -> SampleRequest:
    described = {
        "name": name,
        "shape": list(tensor.shape),
        "datatype": DATA_TYPES[str(tensor.dtype)].removeprefix("TYPE_"),
    }
    raw = np.ascontiguousarray(tensor).astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
    head = msgspec.json.encode({"inputs": [{**described, "parameters": {"binary_data_size": len(raw)}}]})
    text = _as_json(described, tensor)
    return SampleRequest(
        body=text or head + raw,
        json_bytes=0 if text else len(head),
        tensor=f"{described['datatype']} {list(tensor.shape)}",
        binary_bytes=len(head) + len(raw),
        beginnings=beginnings,
        shapes=shapes,
    )


def _as_json(described: Mapping[str, object], tensor: Array) -> bytes:
    """The shortest decimal numbers that are the tensor's own again once they are read; nothing where they are too many."""
    values, places, counts = np.unique(tensor.ravel(), return_inverse=True, return_counts=True)
    texts = np.array([str(value) for value in values], dtype=object)
    if sum(len(text) * int(count) for text, count in zip(texts, counts, strict=True)) + tensor.size > JSON_BYTES:
        return b""
    rows = (",".join(texts[places[at : at + _ROW]]) for at in range(0, tensor.size, _ROW))
    start = msgspec.json.encode({"inputs": [{**described, "data": []}]})
    return start.removesuffix(b"]}]}") + ",".join(rows).encode() + b"]}]}\n"
