"""Our `onnxruntime` backend inside the real Triton."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from embedded.ports import Ports
from embedded.stack import serving_environment
from embedded.supervised import Supervised
from embedded.triton import triton_program
from servicekit.servers import free_ports

pytestmark = pytest.mark.integration
NAME = "d-doubler"
CONFIG = {
    "name": NAME,
    "backend": "onnxruntime",
    "max_batch_size": 8,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3]}],
    "dynamic_batching": {"max_queue_delay_microseconds": 20000},
    "instance_group": [{"kind": "KIND_CPU", "count": 1}],
    "parameters": {"intra_op_thread_count": {"string_value": "1"}},
}


def doubler() -> bytes:
    """y = x + x, with a batch axis."""
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3]) for name in "xy"]
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    graph = onnx.helper.make_graph([node], "doubler", tensors[:1], tensors[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
async def triton(tmp_path: Path) -> AsyncIterator[InferenceServerClient]:
    names = ("triton_http", "triton_grpc", "triton_metrics")
    ports = Ports(**dict(zip(names, free_ports(3), strict=True)))
    program = triton_program(serving_environment(), tmp_path, ports, dict(os.environ))
    server = Supervised(program, tmp_path / "triton.log", lambda line: None)
    await server.start()
    async with InferenceServerClient(f"127.0.0.1:{ports.triton_grpc}") as client:
        yield client
    await server.stop()


async def infer(client: InferenceServerClient, rows: int) -> bool:
    values = np.random.default_rng(rows).random((rows, 3), dtype=np.float32)
    tensor = InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    answer = await client.infer(NAME, [tensor])
    return bool(np.array_equal(answer.as_numpy("y"), values * 2))


async def test_serves_what_is_sent_and_joins_waiting_requests(triton: InferenceServerClient) -> None:
    await triton.load_model(NAME, config=json.dumps(CONFIG), files={"file:1/model.onnx": doubler()})
    assert all(await asyncio.gather(*(infer(triton, rows) for rows in (1, 2, 3, 1, 1, 2, 1, 4))))
    async with asyncio.timeout(20):  # what was answered is counted a moment later
        while (counted := (await triton.get_inference_statistics(NAME)).model_stats[0]).inference_count < 15:
            await asyncio.sleep(0.05)
    assert counted.inference_count == 15
    assert counted.execution_count < 8


async def test_a_broken_model_is_refused_and_the_server_stays_ready(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="ONNXRuntimeError"):
        await triton.load_model(NAME, config=json.dumps(CONFIG), files={"file:1/model.onnx": b"not a model"})
    assert await triton.is_server_ready()
    await triton.load_model(NAME, config=json.dumps(CONFIG), files={"file:1/model.onnx": doubler()})
    assert await infer(triton, 1)


async def test_a_wrong_shape_is_an_error_of_that_request_alone(triton: InferenceServerClient) -> None:
    await triton.load_model(NAME, config=json.dumps(CONFIG), files={"file:1/model.onnx": doubler()})
    wrong = InferInput("x", [1, 5], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 5), np.float32))
    with pytest.raises(InferenceServerException, match="shape"):
        await triton.infer(NAME, [wrong])
    assert await infer(triton, 2)


def model(nodes: list[onnx.NodeProto], outputs: str = "y") -> bytes:
    """x to y, any nodes between them."""
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "hostile", tensors[:1], tensors[1:])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def constant(name: str, value: object) -> onnx.NodeProto:
    return onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(np.array(value), name))


def giant(elements: int, *, answered: bool) -> bytes:
    """As many zeros as asked for: added up, or all of them in the answer."""
    nodes = [
        constant("shape", [elements // 3, 3]),
        onnx.helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        constant("axes", [0]),
    ]
    if answered:
        return model([*nodes[:2], onnx.helper.make_node("Identity", ["zeros"], ["y"])])
    add = onnx.helper.make_node("ReduceSum", ["zeros", "axes"], ["sum"])
    return model([*nodes, add, onnx.helper.make_node("Add", ["x", "sum"], ["y"])])


def endless() -> bytes:
    """A loop that counts to the end of int64."""
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["go"], ["on"]), onnx.helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            onnx.helper.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
            onnx.helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("v", onnx.TensorProto.FLOAT, None),
        ],
        [
            onnx.helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, None),
        ],
    )
    nodes = [constant("trips", 2**62), constant("go", True)]
    return model([*nodes, onnx.helper.make_node("Loop", ["trips", "go", "x"], ["y"], body=body)])


def limited(**parameters: str) -> str:
    given = {key: {"string_value": value} for key, value in parameters.items()}
    return json.dumps(CONFIG | {"max_batch_size": 0, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 3]}],
                                "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1, 3]}],
                                "dynamic_batching": None, "parameters": given})  # fmt: skip


@pytest.mark.parametrize(
    ("hostile", "words"),
    [
        (giant(3 << 28, answered=False), "alloc|memory"),
        (giant(3 << 23, answered=True), "bytes"),
        (endless(), "healthy|Stub|stub"),
    ],
    ids=["memory", "answer", "time"],
)
async def test_a_model_that_takes_everything_takes_only_its_own(
    triton: InferenceServerClient, hostile: bytes, words: str
) -> None:
    limits = {"memory_limit_mib": "1024", "answer_limit_mib": "64", "run_limit_s": "2"}
    await triton.load_model(
        "d-hostile", config=limited(**limits).replace(NAME, "d-hostile"), files={"file:1/model.onnx": hostile}
    )
    await triton.load_model(NAME, config=json.dumps(CONFIG), files={"file:1/model.onnx": doubler()})
    tensor = InferInput("x", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 3), np.float32))
    with pytest.raises(InferenceServerException, match=words):
        await triton.infer("d-hostile", [tensor], client_timeout=30)
    assert await triton.is_server_ready()
    assert await infer(triton, 2)


def folding() -> bytes:
    """Constants that take minutes to multiply, which the runtime does while it loads."""
    side = onnx.helper.make_node("ConstantOfShape", ["shape"], ["m0"])
    product = [onnx.helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(200)]
    nodes = [constant("shape", [4000, 4000]), side, *product, constant("axes", [0, 1])]
    nodes.append(onnx.helper.make_node("ReduceMax", ["m200"], ["top"], axes=[0, 1], keepdims=0))
    return model([*nodes, onnx.helper.make_node("Add", ["x", "top"], ["y"])])


async def test_a_model_that_loads_for_ever_does_not(triton: InferenceServerClient) -> None:
    config = limited(run_limit_s="2", intra_op_thread_count="1").replace(NAME, "d-hostile")
    with pytest.raises(InferenceServerException):
        await triton.load_model("d-hostile", config=config, files={"file:1/model.onnx": folding()}, client_timeout=60)
    await triton.load_model(NAME, config=json.dumps(CONFIG), files={"file:1/model.onnx": doubler()})
    assert await infer(triton, 2)
