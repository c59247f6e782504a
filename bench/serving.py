"""(b) The proxy, picture in and predictions out, against a client that does the same work itself around tritonclient."""

import http.client
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import tritonclient.grpc as triton
from msgspec import Struct

from bench.figures import median, percentile, table, verdict
from bench.platform import Platform, Say
from contracts.keys import triton_model_name
from contracts.tiers import TIERS
from contracts.vocabulary import Tier
from modelport.models import Deployment, ExportJob
from processing import images
from processing.pipeline import Pipeline
from samples.shapes import write_pictures

ROUNDS = 5
REQUESTS = {1: 200, 8: 700}
P50_TARGETS = {1: 1.12, 8: 1.20}
THROUGHPUT_TARGET, P99_TARGET = 0.85, 1.60
WINDOW_S = 60
SAMPLED, SPANS_AFTER_S = 40, 8.0
SERVER, STAGES = "in the proxy", ("decode", "preprocess", "triton", "postprocess")
Call = Callable[[], int]
"""One request; answers how many objects were found."""


Stages = dict[str, list[float]]


class Clock:
    """Splits the time since it was made into named stages."""

    def __init__(self, spent: Stages) -> None:
        self._spent, self._since = spent, time.perf_counter()

    def told(self, stage: str) -> None:
        now = time.perf_counter()
        self._spent.setdefault(stage, []).append((now - self._since) * 1000)
        self._since = now


class Run(Struct, frozen=True):
    """Latencies in milliseconds of one batch of requests, and requests per second."""

    latencies: list[float]
    throughput: float


class Direct:
    """Decoding, preprocessing, gRPC, postprocessing in one process; one connection per thread."""

    def __init__(self, address: str, model: str, pipeline: Pipeline, picture: bytes) -> None:
        self._client = triton.InferenceServerClient(address)
        self._model, self._pipeline, self._picture = model, pipeline, picture

    def __call__(self) -> int:
        return self.timed({})

    def timed(self, spent: Stages) -> int:
        """One request; adds the milliseconds of each stage to `spent`."""
        clock = Clock(spent)
        pixels = images.decode(self._picture, max_pixels=20_000_000, max_bytes=10 << 20)
        clock.told("decode")
        tensor, geometry = self._pipeline.preprocess(pixels)
        clock.told("preprocess")
        kind = "UINT8" if tensor.dtype == np.uint8 else "FP32"
        given = triton.InferInput(self._pipeline.input_name, list(tensor.shape), kind)
        given.set_data_from_numpy(tensor)
        answer = self._client.infer(self._model, [given])
        clock.told("triton")
        outputs = {name: answer.as_numpy(name) for name in self._pipeline.output_names}
        found = self._pipeline.postprocess(outputs, geometry)
        clock.told("postprocess")
        return len(found)


class Proxied:
    """The same picture through the proxy; one kept-alive connection per thread."""

    def __init__(self, deployment: Deployment, key: str, picture: bytes) -> None:
        parts = urlsplit(deployment.endpoint_url or "")
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        self._path, self._picture = parts.path, picture
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/jpeg"}

    def __call__(self) -> int:
        return self.asked()[0]

    def asked(self) -> tuple[int, str]:
        """How many objects, and the id of the request's trace."""
        self._connection.request("POST", self._path, self._picture, self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"the proxy answered {response.status}: {body[:300]!r}")
        return len(json.loads(body)["predictions"]), response.headers["X-Trace-Id"]


def measure(platform: Platform, say: Say) -> str:
    """Both sides in turns in every round; a round begins with a new minute, because the enterprise tier has a limit too."""
    limit = TIERS[Tier.ENTERPRISE].rate_limit_per_minute
    if sum(REQUESTS.values()) > limit:
        raise RuntimeError(f"a round must stay below {limit} requests")
    deployment, direct, proxied = _prepare(platform)
    try:
        runs = _rounds(platform, {"direct": direct, "proxy": proxied}, say)
        return _report(runs) + "\n\n" + _breakdown(platform, direct(), proxied())
    finally:
        platform.client.deployments.delete(deployment.id)


def _prepare(platform: Platform) -> tuple[Deployment, Callable[[], Direct], Callable[[], Proxied]]:
    job = platform.export()
    client = platform.client.deployments
    made = client.create(job.id, "platform_endpoint", "bench")
    deployment = client.wait(made.id)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline.from_metadata(_metadata(platform, job, Path(folder)))
        picture = next(path for path in write_pictures(Path(folder)) if path.name == "large.jpg").read_bytes()
    parts = urlsplit(platform.about.triton_url)
    address, model = f"{parts.hostname}:{(parts.port or 0) + 1}", triton_model_name(deployment.id)

    def direct() -> Direct:
        return Direct(address, model, pipeline, picture)

    def proxied() -> Proxied:
        return Proxied(deployment, made.api_key or "", picture)

    found = (direct()(), proxied()())
    if found[0] != found[1]:
        raise RuntimeError(f"the two sides do not find as many objects: {found}")
    return deployment, direct, proxied


def _metadata(platform: Platform, job: ExportJob, folder: Path) -> dict[str, object]:
    made = platform.client.deployments.create(job.id, "download", "bench")
    platform.client.deployments.wait(made.id)
    archive = platform.client.deployments.download(made.id, folder / "package.zip")
    with zipfile.ZipFile(archive) as opened:
        metadata: dict[str, object] = json.loads(opened.read("metadata.json"))
    return metadata


def _rounds(platform: Platform, sides: dict[str, Callable[[], Call]], say: Say) -> dict[tuple[str, int], list[Run]]:
    platform.settle()
    runs: dict[tuple[str, int], list[Run]] = {}
    for number in range(1, ROUNDS + 1):
        _next_minute()
        order = list(sides) if number % 2 else list(reversed(sides))
        for concurrency, requests in REQUESTS.items():
            for side in order:
                runs.setdefault((side, concurrency), []).append(run(sides[side], concurrency, requests))
        told = (f"{side} c={c} p50 {percentile(done[-1].latencies, 50):.1f} ms" for (side, c), done in runs.items())
        say(f"round {number}: {', '.join(told)}")
    return runs


def _next_minute() -> None:
    time.sleep(WINDOW_S - time.time() % WINDOW_S + 0.2)


def run(make: Callable[[], Call], concurrency: int, requests: int) -> Run:
    """`requests` calls, shared between `concurrency` threads with a connection each."""
    calls = [make() for _ in range(concurrency)]

    def work(call: Call) -> list[float]:
        spent = []
        for _ in range(requests // concurrency):
            began = time.perf_counter()
            call()
            spent.append((time.perf_counter() - began) * 1000)
        return spent

    with ThreadPoolExecutor(concurrency) as pool:
        began = time.perf_counter()
        latencies = [value for part in pool.map(work, calls) for value in part]
        seconds = time.perf_counter() - began
    return Run(latencies, len(latencies) / seconds)


def _report(runs: dict[tuple[str, int], list[Run]]) -> str:
    rows, verdicts = [], []
    for concurrency in REQUESTS:
        direct, proxy = runs["direct", concurrency], runs["proxy", concurrency]
        for name, done in (("direct", direct), ("proxy", proxy)):
            p50, p99 = (median([percentile(one.latencies, share) for one in done]) for share in (50, 99))
            rows.append((concurrency, name, f"{p50:.1f}", f"{p99:.1f}", f"{median([r.throughput for r in done]):.0f}"))
        pairs = list(zip(proxy, direct, strict=True))
        p50 = median([percentile(a.latencies, 50) / percentile(b.latencies, 50) for a, b in pairs])
        p99 = median([percentile(a.latencies, 99) / percentile(b.latencies, 99) for a, b in pairs])
        rate = median([a.throughput / b.throughput for a, b in pairs])
        verdicts.append(
            f"- c = {concurrency}: p50 {verdict(p50, P50_TARGETS[concurrency])}; p99 {verdict(p99, P99_TARGET)}; "
            f"throughput {verdict(rate, THROUGHPUT_TARGET, at_least=True)}"
        )
    return (
        "## (b) The proxy against a client that does the work itself\n\n"
        "One JPEG of 1280x720 in, boxes out. Direct: one Python process with a thread and a gRPC connection per concurrent request, which decodes, "
        "preprocesses and postprocesses with the same `libs/processing`. Proxy: HTTP with the JPEG as body, key, minute limit and usage included. Both "
        f"reach the same model in the same Triton (embedded: ONNX Runtime in a Python backend). Median of {ROUNDS} rounds, sides in turns:\n\n"
        + "\n".join(verdicts)
        + "\n\n"
        + table(("c", "side", "p50 ms", "p99 ms", "requests/s"), rows)
    )


def _breakdown(platform: Platform, direct: Direct, proxied: Proxied) -> str:
    """Where a request's time goes at c = 1: the direct client's own clock against the proxy's spans."""
    _next_minute()
    ours: Stages = {}
    theirs: Stages = {}
    traces = []
    for _ in range(SAMPLED):
        direct.timed(theirs)
        clock = Clock(ours)
        traces.append(proxied.asked()[1])
        clock.told("in all, at the client")
    time.sleep(SPANS_AFTER_S)
    for trace_id in dict.fromkeys(traces):
        for name, duration in _proxy_times(f"{platform.about.traces_url}/api/traces/{trace_id}"):
            ours.setdefault(name, []).append(duration)
    theirs["in all, at the client"] = [sum(parts) for parts in zip(*theirs.values(), strict=True)]
    rows = [
        (name, _shown(theirs.get(name)), _shown(ours.get(name))) for name in ("in all, at the client", SERVER, *STAGES)
    ]
    return f"Where it goes at c = 1, medians of {SAMPLED} requests in turns:\n\n" + table(
        ("", "direct ms", "proxy ms"), rows
    )


def _shown(values: list[float] | None) -> str:
    return f"{median(values):.2f}" if values else ""


def _proxy_times(url: str) -> Iterator[tuple[str, float]]:
    """The request's span and the stages that are its attributes."""
    with urlopen(url, timeout=10) as answer:
        traces = json.loads(answer.read())["data"]
    for span in (span for trace in traces for span in trace["spans"]):
        tags = {tag["key"]: tag["value"] for tag in span["tags"]}
        if "modelport.triton_ms" in tags:
            yield SERVER, span["duration"] / 1000
            for stage in STAGES:
                yield stage, float(tags[f"modelport.{stage}_ms"])
