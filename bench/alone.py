"""One proxy by itself: real NATS and PostgreSQL, an upstream of known speed, and endpoints of as many users as the limits ask for."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec import Struct
from opentelemetry.sdk.trace import TracerProvider

from bench.upstream import ANCHORS, CLASSES, OUTPUT
from contracts import credentials
from contracts.events.deployment import Access, DeploymentActivatedV1
from contracts.model_package import ModelMetadata
from contracts.vocabulary import DeploymentType, Tier
from servicekit.bus import Bus
from servicekit.servers import LOOPBACK, ServerCommand, free_ports
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, Server, nats_server, postgres_server

PEPPER = "a pepper for measurements only"
SIDE = 160
METADATA = {
    "model_info": {
        "framework": "ultralytics",
        "task_type": "object_detection",
        "model_name": "yolo11n",
        "export_format": "onnx",
    },
    "model_file": "model.onnx",
    "preprocessing": {
        "resize": {"method": "letterbox", "size": [SIDE, SIDE], "kernel": "cv2_linear_u8"},
        "normalize": {"embedded": True},
        "format": {"output_layout": "NHWC", "dtype": "uint8"},
    },
    "postprocessing": {"decoder": "yolo_v8", "nms": {"enabled": True}, "output_format": {}},
    "input_spec": {"name": "images", "shape": [-1, SIDE, SIDE, 3], "dtype": "uint8", "format": "NHWC"},
    "output_spec": {OUTPUT: {"name": OUTPUT, "shape": [-1, 4 + CLASSES, ANCHORS], "dtype": "float32", "format": "raw"}},
    "classes": [{"id": index, "name": f"class {index}"} for index in range(CLASSES)],
    "parity": {
        "proof": "verified",
        "inputs": 32,
        "non_square_inputs": 16,
        "outputs": [],
        "predictions_source": 1,
        "predictions_matched": 1,
        "max_confidence_difference": 0.0,
    },
    "provenance": {"checkpoint_sha256": "0" * 64, "export_options": {}, "optimization": {}, "toolchain": {}},
    "sizes": {"original_size_bytes": 1, "exported_size_bytes": 1, "compression_ratio": 1.0},
}
"""Of a small detector whose graph takes uint8 pixels, as the sample's does."""


class Endpoint(Struct, frozen=True):
    """Where one user's model is called, and the key that opens it."""

    url: str
    key: str
    activation: DeploymentActivatedV1


class Alone:
    """The running proxy `server` at `url`, its upstream (a server of ours, where it is one), and `endpoints`, one a user."""

    def __init__(
        self, server: Server, url: str, upstream: Server | None, upstream_url: str, endpoints: list[Endpoint]
    ) -> None:
        self.server, self.url, self.endpoints = server, url, endpoints
        self.upstream, self.upstream_url = upstream, upstream_url


@contextmanager
def proxy_alone(
    *, users: int, delay_ms: float = 0.0, upstream_url: str = "", settings: Mapping[str, str] | None = None
) -> Iterator[Alone]:
    """A proxy that knows `users` endpoints, in front of `upstream_url` or else of an upstream that answers after `delay_ms`.

    `settings` are further variables of its environment.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        nats = stack.enter_context(nats_server(folder))
        dsn = stack.enter_context(postgres_server(folder)).dsn
        upstream = None
        if not upstream_url:
            upstream, upstream_url = _start_upstream(stack, folder, delay_ms)
        (port,) = free_ports(1)
        url = f"http://{LOOPBACK}:{port}"
        endpoints = [endpoint(url) for _ in range(users)]
        asyncio.run(_announce(nats, endpoints))
        environment = {
            "MODELPORT_NATS_URL": nats.url,
            "MODELPORT_POSTGRES_DSN": dsn,
            "MODELPORT_TRITON_HTTP_URL": upstream_url,
            "MODELPORT_KEY_PEPPER": PEPPER,
            "MODELPORT_PORT": str(port),
            **(settings or {}),
        }
        yield Alone(
            _start(stack, "inference_proxy", (), folder, port, environment), url, upstream, upstream_url, endpoints
        )


def _start_upstream(stack: ExitStack, folder: Path, delay_ms: float) -> tuple[Server, str]:
    (port,) = free_ports(1)
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    server = _start(stack, "bench.upstream", (str(port), str(delay_ms)), folder, port, environment)
    return server, f"http://{LOOPBACK}:{port}"


def _start(
    stack: ExitStack, module: str, words: tuple[str, ...], folder: Path, port: int, environment: dict[str, str]
) -> Server:
    command = ServerCommand(
        name=module,
        argv=(sys.executable, "-m", module, *words),
        cwd=str(folder),
        port=port,
        env=environment,
        ready_url=f"http://{LOOPBACK}:{port}/readyz",
    )
    server = Server(command, folder / f"{module}.log")
    stack.callback(server.stop)
    server.start()
    return server


def endpoint(url: str) -> Endpoint:
    """Of a new enterprise user, called below `url`; nobody has heard of it yet."""
    key = credentials.mint(credentials.API_KEY_PREFIX)
    activation = DeploymentActivatedV1(
        deployment_id=uuid4(),
        generation=1,
        deployment_type=DeploymentType.PLATFORM_ENDPOINT,
        triton_model="d-bench",
        model_version=1,
        metadata=msgspec.convert(METADATA, ModelMetadata),
        access=Access(user_id=uuid4(), tier=Tier.ENTERPRISE, key_digests=(credentials.digest(key, PEPPER),)),
    )
    return Endpoint(f"{url}/v1/infer/{activation.deployment_id}", key, activation)


async def _announce(nats: NatsServer, endpoints: list[Endpoint]) -> None:
    bus = Bus(nats.url, "bench", Telemetry("bench", TracerProvider(shutdown_on_exit=False)))
    await bus.connect()
    for one in endpoints:
        await bus.publish(one.activation, subject_id=one.activation.deployment_id, sequence=one.activation.generation)
    await bus.stop()
