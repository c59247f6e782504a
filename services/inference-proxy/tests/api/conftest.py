"""Real proxies as processes, in front of a real Triton with a tiny colour classifier and a tiny detector."""

import base64
import json
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from embedded.ports import Ports
from embedded.triton import triton_program
from servicekit.bus import Bus
from servicekit.servers import ServerCommand, free_ports
from servicekit.testing import NatsServer, PostgresServer, Server

SERVING = Path(__file__).parents[4] / ".venv-serving"


class TritonServer(Server):
    """A Triton of one's own at `url`."""

    url: str = ""


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """One Triton a session, with the models `d-classifier` and `d-detector`."""
    if not (SERVING / "bin" / "python").exists():
        pytest.skip(".venv-serving is absent: run `make setup`")
    home = tmp_path_factory.mktemp("triton")
    http, grpc, metrics = free_ports(3)
    ports = msgspec.structs.replace(Ports(), triton_http=http, triton_grpc=grpc, triton_metrics=metrics)
    program = triton_program(SERVING, home, ports, dict(os.environ))
    url = f"http://127.0.0.1:{http}"
    command = ServerCommand(
        name="triton",
        argv=program.argv,
        cwd=program.cwd,
        port=http,
        env=program.env,
        ready_url=f"{url}/v2/health/ready",
    )
    server = TritonServer(command, home / "triton.log")
    server.url = url
    server.start()
    for name, model in (("d-classifier", classifier()), ("d-detector", detector())):
        load(url, name, model)
    yield server
    server.stop()


def load(url: str, name: str, model: bytes) -> None:
    """Load a model from bytes; its tensors are read from the graph."""
    graph = onnx.load_from_string(model).graph
    config = {
        "name": name,
        "backend": "onnxruntime",
        "max_batch_size": 8,
        "input": [tensor_config(one) for one in graph.input],
        "output": [tensor_config(one) for one in graph.output],
        "instance_group": [{"kind": "KIND_CPU", "count": 1}],
    }
    content = base64.b64encode(model).decode()
    body = {"parameters": {"config": msgspec.json.encode(config).decode(), "file:1/model.onnx": content}}
    path = f"{url}/v2/repository/models/{name}/load"
    urllib.request.urlopen(urllib.request.Request(path, data=msgspec.json.encode(body), method="POST"), timeout=60)


def tensor_config(value: Any) -> dict[str, object]:
    dims = [one.dim_value for one in value.type.tensor_type.shape.dim][1:]
    return {"name": value.name, "data_type": "TYPE_FP32", "dims": dims}


def classifier() -> bytes:
    """Mean red, green and blue of float32 [N, 3, 32, 32] as logits [N, 3]."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    return _model(nodes, "logits", [3], [])


def detector() -> bytes:
    """[N, 4 + 3, 2]: two fixed boxes (centre x, centre y, width, height), scored by the mean colours."""
    boxes = np.array([[[8.0, 24.0], [8.0, 24.0], [8.0, 8.0], [8.0, 8.0]]], np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Squeeze", ["pooled", "last"], ["colours"]),
        helper.make_node("Concat", ["colours", "colours"], ["scores"], axis=2),
        helper.make_node("Slice", ["scores", "zero", "one", "channels"], ["first"]),
        helper.make_node("Mul", ["first", "none"], ["nothing"]),
        helper.make_node("Slice", ["nothing", "zero", "one", "channels"], ["row"]),
        helper.make_node("Concat", ["row", "row", "row", "row"], ["zeros"], axis=1),
        helper.make_node("Add", ["zeros", "boxes"], ["placed"]),
        helper.make_node("Concat", ["placed", "scores"], ["output0"], axis=1),
    ]
    constants = {
        "last": np.array([3], np.int64),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "channels": np.array([1], np.int64),
        "none": np.zeros(1, np.float32),
        "boxes": boxes,
    }
    return _model(nodes, "output0", [7, 2], [numpy_helper.from_array(v, k) for k, v in constants.items()])


def _model(nodes: list[Any], output: str, shape: list[int], constants: list[Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", *shape])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


class Proxy(Server):
    """One proxy process at `url`."""

    url: str = ""


StartProxy = Callable[..., Proxy]


@pytest.fixture
def start_proxy(kit: ModuleType, nats_server: NatsServer, database: str, tmp_path: Path) -> Iterator[StartProxy]:
    """Starts proxies, all on the same bus and ledger; stops them in the end."""
    with ExitStack() as stack:

        def start(triton_url: str, **settings: object) -> Proxy:
            (port,) = free_ports(1)
            env = {
                "MODELPORT_NATS_URL": nats_server.url,
                "MODELPORT_POSTGRES_DSN": database,
                "MODELPORT_TRITON_HTTP_URL": triton_url,
                "MODELPORT_KEY_PEPPER": kit.PEPPER,
                "MODELPORT_PORT": str(port),
                **{f"MODELPORT_{key.upper()}": str(value) for key, value in settings.items()},
            }
            command = ServerCommand(
                name="inference-proxy",
                argv=(sys.executable, "-m", "inference_proxy"),
                cwd=str(tmp_path),
                port=port,
                env=env,
                ready_url=f"http://127.0.0.1:{port}/readyz",
            )
            proxy = Proxy(command, tmp_path / f"proxy-{port}.log")
            proxy.url = f"http://127.0.0.1:{port}"
            stack.callback(proxy.stop)
            proxy.start()
            return proxy

        yield start


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The DSN of an empty database: the ledger's schema has a fixed name."""
    name = f"proxy_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server.dsn.rsplit("/", 1)[0] + f"/{name}"
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as made:
        yield made


class Client:
    """Sends pictures to one proxy."""

    def __init__(self, kit: ModuleType, session: aiohttp.ClientSession, url: str) -> None:
        self.kit = kit
        self.session = session
        self.url = url

    async def send(self, endpoint: Any, **request: Any) -> tuple[int, Any, Any]:
        """Status, decoded body and headers; a red picture as JSON where nothing else is given."""
        if not {"data", "json"} & set(request):
            request["json"] = {"image": base64.b64encode(self.kit.picture()).decode()}
        headers = endpoint.headers | request.pop("headers", {})
        path = request.pop("path", endpoint.path)
        async with self.session.post(self.url + path, headers=headers, **request) as answer:
            return answer.status, json.loads(await answer.read()), answer.headers

    async def status(self, endpoint: Any, **request: Any) -> int:
        return (await self.send(endpoint, **request))[0]

    async def serves(self, endpoint: Any) -> None:
        """Waits until the route is known."""

        async def answers() -> bool:
            return await self.status(endpoint) == 200

        await self.kit.eventually(answers)


@pytest.fixture
def connect(kit: ModuleType, session: aiohttp.ClientSession) -> Callable[[str], Client]:
    """A client of the proxy at a URL."""
    return lambda url: Client(kit, session, url)


@pytest.fixture
def client(connect: Callable[[str], Client], bus: Bus, start_proxy: StartProxy, triton_server: TritonServer) -> Client:
    """A client of a fresh proxy with low limits for pictures; its bus exists before it."""
    assert bus.is_connected
    return connect(start_proxy(triton_server.url, image_max_bytes=200_000, image_max_pixels=100_000).url)
