"""(e) The proxy around a model that takes exactly 20 ms, (f) where its processor time goes, (g) its memory after very many requests.

The upstream is `bench.upstream`, so that what is measured is the proxy's alone and does not depend on a model.
"""

import http.client
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psutil
from PIL import Image, ImageFilter

from bench import account
from bench.alone import Alone, Endpoint, proxy_alone
from bench.figures import median, percentile, table, verdict
from bench.platform import Platform, Say
from bench.serving import P50_TARGETS, P99_TARGET, THROUGHPUT_TARGET, Call, Run, run
from inference_proxy.served import ServedModel, serve
from inference_proxy.tensors import HEADER_LENGTH
from processing import images
from samples.shapes import write_pictures

MODEL_MS = 20.0
ROUNDS, REQUESTS = 5, {1: 100, 8: 400}
USERS = 130
FEW, MANY, WINDOW = 10_000, 100_000, 900
CONNECTIONS = 8
MEMORY_TARGET = 1.05
STEPS = 400


class Direct:
    """What the proxy does for a picture, done by the client itself around one kept HTTP connection to the upstream."""

    def __init__(self, url: str, model: ServedModel, picture: bytes) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._pipeline, self._template, self._picture = model.pipeline, model.template, picture

    def __call__(self) -> int:
        tensor, geometry = self._pipeline.preprocess(images.decode(self._picture))
        head, raw = self._template.body(tensor)
        self._connection.request("POST", "/v2/models/m/infer", head + bytes(raw), {HEADER_LENGTH: str(len(head))})
        answer = self._connection.getresponse()
        body = answer.read()
        outputs = self._template.read(body, int(answer.headers[HEADER_LENGTH]))
        return len(self._pipeline.postprocess(outputs, geometry))


class Proxied:
    """The picture to the proxy on one kept connection; `expected` is the status that every answer must have."""

    def __init__(self, endpoint: Endpoint, picture: bytes, *, key: str = "", expected: int = 200) -> None:
        parts = urlsplit(endpoint.url)
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        self._path, self._picture, self._expected = parts.path, picture, expected
        self._headers = {"Authorization": f"Bearer {key or endpoint.key}", "Content-Type": "image/jpeg"}

    def __call__(self) -> int:
        self._connection.request("POST", self._path, self._picture, self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != self._expected:
            raise RuntimeError(f"the proxy answered {answer.status}: {body[:300]!r}")
        return len(body)


def measure(platform: Platform, say: Say) -> str:
    """The stack is quiet meanwhile."""
    platform.settle()
    return "\n\n".join([_latency(say), _account(say), _memory(say)])


def pictures() -> tuple[bytes, bytes]:
    """1280x720 in about 60 KB, and a tiny one."""
    with TemporaryDirectory() as folder:
        large = next(path for path in write_pictures(Path(folder)) if path.name == "large.jpg")
        smooth = Image.open(large).filter(ImageFilter.GaussianBlur(1.5))
    return _jpeg(smooth, 80), _jpeg(Image.new("RGB", (64, 48), "red"), 90)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _latency(say: Say) -> str:
    picture, _ = pictures()
    runs: dict[tuple[str, int], list[Run]] = {}
    with proxy_alone(users=ROUNDS * len(REQUESTS), delay_ms=MODEL_MS) as alone:
        for number in range(ROUNDS):
            for index, (concurrency, requests) in enumerate(REQUESTS.items()):
                endpoint = alone.endpoints[number * len(REQUESTS) + index]
                sides = _sides(alone, endpoint, picture)
                for side in sorted(sides, reverse=bool(number % 2)):
                    runs.setdefault((side, concurrency), []).append(run(sides[side], concurrency, requests))
            say(f"20 ms model, round {number + 1} of {ROUNDS}")
    lines, rows = [], []
    for concurrency in REQUESTS:
        direct, proxy = runs["direct", concurrency], runs["proxy", concurrency]
        lines.append(_verdicts(concurrency, direct, proxy))
        for side, done in (("direct", direct), ("proxy", proxy)):
            p50, p99 = (median([percentile(one.latencies, share) for one in done]) for share in (50, 99))
            rows.append(
                (concurrency, side, f"{p50:.1f}", f"{p99:.1f}", f"{median([one.throughput for one in done]):.0f}")
            )
    return (
        f"## (e) The proxy around a model of {MODEL_MS:.0f} ms\n\n"
        f"One JPEG of 1280x720 in {len(picture) // 1000} kB. The upstream answers after exactly {MODEL_MS:.0f} ms without using the processor. Both sides "
        "decode, preprocess and postprocess with the same code and call it over a kept HTTP connection; the proxy adds a second hop, key, minute, month, usage "
        f"and span. Medians of {ROUNDS} rounds, sides in turns:\n\n"
        + "\n".join(lines)
        + "\n\n"
        + table(("c", "side", "p50 ms", "p99 ms", "requests/s"), rows)
    )


def _sides(alone: Alone, endpoint: Endpoint, picture: bytes) -> dict[str, Callable[[], Call]]:
    return {
        "direct": lambda: Direct(alone.upstream_url, serve(endpoint.activation, ""), picture),
        "proxy": lambda: Proxied(endpoint, picture),
    }


def _verdicts(concurrency: int, direct: list[Run], proxy: list[Run]) -> str:
    pairs = list(zip(proxy, direct, strict=True))
    p50, p99 = (median([percentile(a.latencies, s) / percentile(b.latencies, s) for a, b in pairs]) for s in (50, 99))
    rate = median([a.throughput / b.throughput for a, b in pairs])
    return (
        f"- c = {concurrency}: p50 {verdict(p50, P50_TARGETS[concurrency])}; p99 {verdict(p99, P99_TARGET)}; "
        f"throughput {verdict(rate, THROUGHPUT_TARGET, at_least=True)}"
    )


def _account(say: Say) -> str:
    """Processor time of the real process, a request that goes one step further each time."""
    picture, tiny = pictures()
    with proxy_alone(users=6) as alone:
        first, *others = alone.endpoints
        steps: list[tuple[str, Callable[[], int]]] = [
            (
                "connection, HTTP, the refusal's body (wrong key)",
                Proxied(first, tiny, key=first.key[:-1], expected=401),
            ),
            ("key, span, minute, month, a thread, usage (no picture)", Proxied(others[0], b"no picture", expected=400)),
            ("tensor, call of the model, postprocessing, answer (64x48)", Proxied(others[1], tiny)),
            (f"body, decoding and resizing of 1280x720 in {len(picture) // 1000} kB", Proxied(others[2], picture)),
        ]
        rows, before = [], 0.0
        for name, call in steps:
            spent = _processor_us(alone.server.pid, call)
            rows.append((name, f"{spent - before:.0f}", f"{spent:.0f}"))
            before = spent
            say(f"{name}: {spent:.0f} µs")
        pieces = account.pieces(alone.upstream_url, picture)
    return (
        "## (f) Where every 100 µs of the proxy go\n\n"
        f"Processor time (all threads, user and system) of the real process for one request at c = 1, means of "
        f"{STEPS}: each row goes one step further than the row above.\n\n"
        + table(("step", "µs more", "µs in all"), rows)
        + "\n\nThe pieces by themselves, in one process, means:\n\n"
        + table(("piece", "µs"), [(name, f"{spent:.0f}") for name, spent in pieces])
    )


def _processor_us(pid: int, call: Callable[[], int]) -> float:
    for _ in range(50):
        call()
    before = _processor_ns(pid)
    for _ in range(STEPS):
        call()
    return (_processor_ns(pid) - before) / STEPS / 1000


def _processor_ns(pid: int) -> int:
    """Of all threads, from the scheduler: `times` counts hundredths of a second."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _memory(say: Say) -> str:
    """Resident bytes after few and after very many requests of many users, each below its minute."""
    _, tiny = pictures()
    with proxy_alone(users=USERS) as alone:
        began = time.perf_counter()
        done = 0
        sizes: dict[int, int] = {}
        for goal in (FEW, MANY):
            done = _send(alone, tiny, done, goal)
            sizes[goal] = psutil.Process(alone.server.pid).memory_info().rss
            say(f"{goal} requests: {sizes[goal] / 1e6:.1f} MB resident")
        seconds = time.perf_counter() - began
    return (
        "## (g) Memory after very many requests\n\n"
        f"Pictures of 64x48 around an upstream that answers at once, {USERS} users, {CONNECTIONS} connections, {MANY / seconds:.0f} requests/s. "
        f"Resident after {MANY} "
        f"requests {sizes[MANY] / 1e6:.1f} MB, after {FEW} {sizes[FEW] / 1e6:.1f} MB: {verdict(sizes[MANY] / sizes[FEW], MEMORY_TARGET)}"
    )


def _send(alone: Alone, picture: bytes, done: int, goal: int) -> int:
    """Requests `done` to `goal`, the users one after the other, so that none meets its limit."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        while done < goal:
            number = min(WINDOW - done % WINDOW, goal - done)
            endpoint = alone.endpoints[done // WINDOW]
            share = -(-number // CONNECTIONS)
            counts = [min(share, number - index * share) for index in range(CONNECTIONS)]
            list(pool.map(lambda count, one=endpoint: _repeat(Proxied(one, picture), count), counts))
            done += number
    return done


def _repeat(call: Callable[[], int], count: int) -> None:
    for _ in range(count):
        call()
