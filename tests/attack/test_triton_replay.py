"""The attacks on Triton, replayed through the proxy: nothing reaches it but calls that the proxy has composed itself."""

import io
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from bench.alone import Alone, Endpoint, proxy_alone
from tests.attack.conftest import Victim
from tests.attack.recorder import SECRET, Recorder, recording
from tests.attack.triton_attacks import Attack, all_attacks
from tests.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(600)]

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
GOODBYE = b"GET /goodbye HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with recording() as made:
        yield made


@pytest.fixture(scope="module")
def alone(recorder: Recorder) -> Iterator[Alone]:
    with proxy_alone(users=1, upstream_url=recorder.url) as running:
        yield running


@pytest.fixture(scope="module")
def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(out, "JPEG")
    return out.getvalue()


def send(host: str, request: bytes) -> bytes:
    """What comes back on one connection until it is closed: by the proxy, or after a last request that asks for it."""
    name, _, port = host.partition(":")
    said = b""
    with socket.create_connection((name, int(port)), PATIENCE_S) as connection:
        try:
            connection.sendall(request + GOODBYE)
            while part := connection.recv(1 << 16):
                said += part
        except ConnectionError:
            pass  # it was cut off, which is an answer as well
    return said


def outcome(attack: Attack, host: str, key: str) -> tuple[list[int], bytes]:
    said = send(host, attack.request(host, key))
    return [int(found) for found in STATUS.findall(said)], said


def is_refused(attack: Attack, statuses: list[int]) -> bool:
    """The first answer is of the allowed, what was hidden behind it is refused; a connection that was cut counts as refused."""
    first, rest = statuses[:1], statuses[1:]
    if 200 not in attack.allowed:
        return 200 not in statuses and set(statuses) <= attack.allowed
    return set(first) <= attack.allowed | {100} and 200 not in rest[first == [100] :]


def test_nothing_reaches_triton_but_our_own_call(
    alone: Alone, recorder: Recorder, picture: bytes, figure: Callable[..., None]
) -> None:
    endpoint, host = alone.endpoints[0], urlsplit(alone.url).netloc
    attacks = all_attacks(endpoint, picture)
    wrong, answered, leaks = [], 0, 0
    for attack in attacks:
        statuses, said = outcome(attack, host, endpoint.key)
        answered += 200 in statuses
        leaks += b"Traceback" in said or recorder.url[7:].encode() in said
        if not is_refused(attack, statuses):
            wrong.append((attack.kind, attack.name, statuses))
    figure(
        "attacks on Triton replayed through the proxy: requests that reached it",
        trials=len(attacks),
        measured=len(recorder.strange),
        promised=0,
    )
    assert wrong == []
    assert recorder.strange == []
    assert leaks == 0
    assert answered >= 10, "the honest pictures among them are served"
    assert len(recorder.calls) == answered
    assert httpx.get(f"{alone.url}/healthz", trust_env=False, timeout=PATIENCE_S).status_code == 200


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_what_triton_says_stays_with_the_operator(
    alone: Alone, recorder: Recorder, picture: bytes, status: int
) -> None:
    endpoint = alone.endpoints[0]
    recorder.status = status
    try:
        answer = ask(endpoint, picture)
    finally:
        recorder.status = 200
    assert answer.status_code in {502, 503}
    assert answer.json()["code"] in {"upstream_failed", "unavailable"}
    assert not any(word in answer.text for word in (*SECRET.split(" in "), "shm", "/tmp", "riton"))


def test_the_page_names_every_attack(alone: Alone, picture: bytes) -> None:
    page = PAGE.read_text()
    assert [
        kind for kind in dict.fromkeys(one.kind for one in all_attacks(alone.endpoints[0], picture)) if kind not in page
    ] == []


def test_the_real_triton_does_not_notice(
    stack: Stack, victim: Victim, picture: bytes, figure: Callable[..., None]
) -> None:
    """Its models, their counts and its shared memory are the same after everything was replayed."""
    triton, host = stack.about.triton_url, urlsplit(stack.about.proxy_url).netloc
    endpoint = Endpoint(victim.endpoint.endpoint_url, victim.api_key, None)
    attacks = [attack for attack in all_attacks(endpoint, picture) if 200 not in attack.allowed]
    before = noticed(triton)
    wrong = [
        (attack.name, statuses)
        for attack in attacks
        if not is_refused(attack, statuses := outcome(attack, host, endpoint.key)[0])
    ]
    after = noticed(triton)
    figure(
        "the same against the real Triton: changes of its models, counts and shared memory",
        trials=len(attacks),
        measured=int(before != after),
        promised=0,
    )
    assert wrong == []
    assert after == before
    assert ask(endpoint, picture).status_code == 200


def ask(endpoint: Endpoint, picture: bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {endpoint.key}", "Content-Type": "image/jpeg"}
    return httpx.post(endpoint.url, content=picture, headers=headers, trust_env=False, timeout=PATIENCE_S)


def noticed(triton: str) -> list[object]:
    """Everything of Triton that an attack would have changed."""
    with httpx.Client(base_url=triton, trust_env=False, timeout=PATIENCE_S) as client:
        counted = client.get("/v2/models/stats").json()["model_stats"]
        regions = client.get("/v2/systemsharedmemory/status").json()
        settings = [client.get(path).json() for path in ("/v2/logging", "/v2/trace/setting")]
        return [sorted((one["name"], one["version"], one["inference_count"]) for one in counted), regions, settings]
