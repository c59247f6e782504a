"""What each piece of a proxied request costs by itself: processor time of this process, all threads."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import msgspec
import uvloop
from opentelemetry.sdk.trace import TracerProvider

from bench.alone import PEPPER, endpoint
from inference_proxy import answers
from inference_proxy.counters import NatsCounters
from inference_proxy.data_plane import Inference, Stage
from inference_proxy.keys import KeyCheck
from inference_proxy.routes import RouteTable
from inference_proxy.served import serve
from inference_proxy.tracing import RequestTracing
from inference_proxy.triton import TritonClient
from inference_proxy.turns import Turns
from processing import images
from servicekit.telemetry import Telemetry
from servicekit.testing import nats_server

TIMES = 400
Piece = tuple[str, float]


def pieces(upstream_url: str, picture: bytes) -> list[Piece]:
    """Names and microseconds, in the order of a request."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_pieces(upstream_url, picture))


async def _pieces(upstream_url: str, picture: bytes) -> list[Piece]:
    made = endpoint(upstream_url)
    event, key = made.activation, made.key
    model, user = serve(event, ""), uuid4()
    routes = RouteTable()
    routes.put(event, "")
    check = KeyCheck(PEPPER)
    tracing = RequestTracing(Telemetry("bench", TracerProvider(shutdown_on_exit=False)))
    turns = Turns(2, "bench")
    pixels = images.decode(picture)
    pipeline = model.pipeline
    tensor, geometry = pipeline.preprocess(pixels)
    now = time.time_ns()
    stages = [Stage(name, now, now) for name in ("decode", "preprocess", "triton", "postprocess")]

    def span() -> None:
        tracing.end(tracing.start(event.deployment_id, "", ""), 200, stages)

    async with TritonClient(upstream_url, timeout_s=10) as triton:
        outputs = await triton.infer(model, tensor)
        found = pipeline.postprocess(outputs, geometry)

        inference = Inference(predictions=found, width=1280, height=720, stages=stages)

        def encode() -> None:
            msgspec.json.encode(answers.answer(inference, latency_ms=1.0, version=1))

        return [
            ("key and route", _sync(lambda: check.authenticate(f"Bearer {key}", routes.get(event.deployment_id)))),
            ("span and the attributes of its stages", _sync(span)),
            ("minute: one increment on NATS, while the picture is decoded", await _counter()),
            ("to a thread and back", await _awaited(lambda: turns.run(user, _nothing))),
            ("decoding, outside the interpreter's lock", _sync(lambda: images.decode(picture))),
            ("preprocessing", _sync(lambda: pipeline.preprocess(pixels))),
            ("call of the model: written, read, parsed", await _awaited(lambda: triton.infer(model, tensor))),
            ("postprocessing", _sync(lambda: pipeline.postprocess(outputs, geometry))),
            ("answer to JSON", _sync(encode)),
        ]


def _nothing() -> None: ...


class _Epoch:
    """Counters that nobody else restores."""

    number = 0

    async def begin(self) -> None: ...

    async def restored(self) -> bool:
        return True


@asynccontextmanager
async def _undisturbed() -> AsyncIterator[_Epoch]:
    yield _Epoch()


async def _counter() -> float:
    with TemporaryDirectory() as folder, nats_server(Path(folder)) as server:
        counters = NatsCounters(_undisturbed)
        await counters.connect(server.url, restore=dict)
        spent = await _awaited(lambda: counters.add("bench", 1))
        await counters.close()
    return spent


def _sync(work: Callable[[], object]) -> float:
    work()
    began = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - began) / TIMES * 1e6


async def _awaited(work: Callable[[], Awaitable[object]]) -> float:
    await work()
    began = time.process_time()
    for _ in range(TIMES):
        await work()
    return (time.process_time() - began) / TIMES * 1e6
