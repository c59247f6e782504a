"""Real proxies as processes, in front of a real Triton with a tiny colour classifier and a tiny detector."""

import asyncio
import base64
import io
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from contracts import credentials
from contracts.events.deployment import Access, DeploymentActivatedV1
from contracts.model_package import (
    ModelClass,
    ModelInfo,
    ModelMetadata,
    Nms,
    Normalize,
    OutputFormat,
    ParitySummary,
    Postprocessing,
    Preprocessing,
    Provenance,
    Resize,
    Sizes,
    TensorFormat,
    TensorSpec,
)
from contracts.vocabulary import (
    Decoder,
    DeploymentType,
    ExportFormat,
    Framework,
    Kernel,
    Proof,
    ResizeMethod,
    TaskType,
    Tier,
)
from embedded.ports import Ports
from embedded.triton import triton_program
from servicekit.bus import Bus
from servicekit.servers import ServerCommand, free_ports
from servicekit.testing import NatsServer, PostgresServer, Server

ROOT = Path(__file__).parents[3]
SERVING = ROOT / ".venv-serving"
PEPPER = "a pepper for tests only"
CLASSES = ("red", "green", "blue")


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


def metadata(*, detects: bool = False, nms: Nms | None = None) -> ModelMetadata:
    """What metadata.json says of the two models."""
    method, output = (ResizeMethod.LETTERBOX, "output0") if detects else (ResizeMethod.STRETCH, "logits")
    shape = (-1, 7, 2) if detects else (-1, 3)
    return ModelMetadata(
        model_info=ModelInfo(
            framework=Framework.TIMM,
            task_type=TaskType.OBJECT_DETECTION if detects else TaskType.IMAGE_CLASSIFICATION,
            model_name="tiny",
            export_format=ExportFormat.ONNX,
        ),
        model_file="model.onnx",
        preprocessing=Preprocessing(
            resize=Resize(method=method, size=(32, 32), kernel=Kernel.CV2_LINEAR_U8),
            normalize=Normalize(),
            format=TensorFormat(),
        ),
        postprocessing=Postprocessing(
            decoder=Decoder.YOLO_V8 if detects else Decoder.SOFTMAX,
            nms=nms or Nms(enabled=detects),
            output_format=OutputFormat(),
            top_k=3,
        ),
        input_spec=TensorSpec(name="images", shape=(-1, 3, 32, 32), dtype="float32", format="NCHW"),
        output_spec={output: TensorSpec(name=output, shape=shape, dtype="float32", format="raw")},
        classes=tuple(ModelClass(id=i, name=name) for i, name in enumerate(CLASSES)),
        parity=ParitySummary(
            proof=Proof.VERIFIED,
            inputs=32,
            non_square_inputs=16,
            outputs=(),
            predictions_source=32,
            predictions_matched=32,
            max_confidence_difference=0.0,
        ),
        provenance=Provenance(checkpoint_sha256="0" * 64, export_options={}, optimization={}, toolchain={}),
        sizes=Sizes(original_size_bytes=1, exported_size_bytes=1, compression_ratio=1.0),
    )


class Endpoint:
    """One activated deployment and the key that opens it."""

    def __init__(self, event: DeploymentActivatedV1, key: str) -> None:
        self.event = event
        self.key = key

    @property
    def path(self) -> str:
        return f"/v1/infer/{self.event.deployment_id}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def endpoint(
    tier: Tier = Tier.ENTERPRISE, user_id: UUID | None = None, model: str = "classifier", **meta: Any
) -> Endpoint:
    """An activation with a fresh key."""
    key = credentials.mint(credentials.API_KEY_PREFIX)
    access = Access(user_id=user_id or uuid4(), tier=tier, key_digests=(credentials.digest(key, PEPPER),))
    event = DeploymentActivatedV1(
        deployment_id=uuid4(),
        generation=1,
        deployment_type=DeploymentType.PLATFORM_ENDPOINT,
        triton_model=f"d-{model}",
        model_version=1,
        metadata=metadata(detects=model == "detector", **meta),
        access=access,
    )
    return Endpoint(event, key)


class Proxy(Server):
    """One proxy process at `url`."""

    url: str = ""


StartProxy = Callable[..., Proxy]


@pytest.fixture
def start_proxy(nats_server: NatsServer, database: str, tmp_path: Path) -> Iterator[StartProxy]:
    """Starts proxies, all on the same bus and ledger; stops them in the end."""
    with ExitStack() as stack:

        def start(triton_url: str, **settings: object) -> Proxy:
            (port,) = free_ports(1)
            env = {
                "MODELPORT_NATS_URL": nats_server.url,
                "MODELPORT_POSTGRES_DSN": database,
                "MODELPORT_TRITON_HTTP_URL": triton_url,
                "MODELPORT_KEY_PEPPER": PEPPER,
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
    import asyncpg

    name = f"proxy_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server.dsn.rsplit("/", 1)[0] + f"/{name}"
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
def kit() -> ModuleType:
    """The functions of this file, for tests: importlib mode has no importable conftest."""
    return sys.modules[__name__]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as made:
        yield made


async def announce(bus: Bus, *endpoints: Endpoint) -> None:
    """State the activations."""
    for one in endpoints:
        await bus.publish(one.event, subject_id=one.event.deployment_id, sequence=one.event.generation)


def picture(colour: str = "red", size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """A picture of one colour; `size` is (width, height)."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def turned_picture(size: tuple[int, int]) -> bytes:
    """A JPEG stored as `size`, to be shown turned by a quarter (EXIF orientation 6)."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", size, "red").save(out, "JPEG", exif=exif)
    return out.getvalue()


async def eventually(check: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer of `check`, asked for at most ten seconds."""
    async with asyncio.timeout(10):
        while not (answer := await check()):
            await asyncio.sleep(0.02)
        return answer
