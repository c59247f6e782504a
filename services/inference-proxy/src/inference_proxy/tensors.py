"""KServe v2 requests and answers with binary tensors, written and read by ourselves.

Nothing that a client sent reaches this format: names come from the model's metadata, shapes from our own arrays. The
answer is read as bounded, hostile input.
https://github.com/kserve/open-inference-protocol and Triton's binary tensor data extension
"""

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

HEADER_LENGTH = "Inference-Header-Content-Length"

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT8": np.dtype(np.int8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
WORDS = {dtype: word for word, dtype in DTYPES.items()}


class TensorError(ValueError):
    """The inference server's answer is not what the model's metadata promises."""


class _Parameters(Struct):
    binary_data_size: int = -1


class _Output(Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Answer(Struct):
    outputs: list[_Output]


_decoder = msgspec.json.Decoder(_Answer)


class RequestTemplate:
    """The JSON part of every request to one model: all but the shape is known beforehand."""

    def __init__(self, *, input_name: str, outputs: tuple[str, ...]) -> None:
        self.input_name = input_name
        self.outputs = outputs
        self._heads: dict[tuple[tuple[int, ...], str], bytes] = {}

    def body(self, tensor: NDArray[np.generic]) -> tuple[bytes, memoryview]:
        """JSON head and raw bytes of a request with one input; the bytes are the tensor's own where it is contiguous."""
        word = WORDS[tensor.dtype]
        head = self._heads.get((tensor.shape, word))
        if head is None:
            head = self._head(tensor, word)
            if len(self._heads) < 64:
                self._heads[tensor.shape, word] = head
        return head, np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data

    def _head(self, tensor: NDArray[np.generic], word: str) -> bytes:
        given = {
            "name": self.input_name,
            "shape": tensor.shape,
            "datatype": word,
            "parameters": {"binary_data_size": tensor.nbytes},
        }
        wanted = [{"name": name, "parameters": {"binary_data": True}} for name in self.outputs]
        return msgspec.json.encode({"inputs": [given], "outputs": wanted})

    def read(self, body: bytes, head_length: int) -> dict[str, NDArray[np.generic]]:
        """Output arrays by name (views of `body`); raises TensorError where anything does not add up."""
        if not 0 < head_length <= len(body):
            raise TensorError("the header length is out of range")
        try:
            answer = _decoder.decode(memoryview(body)[:head_length])
        except msgspec.MsgspecError as error:
            raise TensorError(str(error)) from error
        arrays: dict[str, NDArray[np.generic]] = {}
        at = head_length
        for output in answer.outputs:
            arrays[output.name], at = _array(body, at, output)
        missing = set(self.outputs) - set(arrays)
        if missing or at != len(body):
            raise TensorError(f"outputs missing: {sorted(missing)}, bytes left over: {len(body) - at}")
        return arrays


def _array(body: bytes, at: int, output: _Output) -> tuple[NDArray[np.generic], int]:
    dtype = DTYPES.get(output.datatype)
    size = output.parameters.binary_data_size
    if dtype is None or min(output.shape, default=0) < 0 or size < 0 or at + size > len(body):
        raise TensorError(f"output {output.name}: {output.datatype}, {size} bytes")
    count = 1
    for dimension in output.shape:
        count *= dimension
    if count * dtype.itemsize != size:
        raise TensorError(f"output {output.name}: shape {output.shape} is not {size} bytes of {output.datatype}")
    return np.frombuffer(body, dtype, count, at).reshape(output.shape), at + size
