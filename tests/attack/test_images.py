"""Pictures of every kind through a real proxy: the right pixels or a clear refusal, and never much memory."""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from bench.alone import Alone, Endpoint, proxy_alone
from tests.attack import pictures
from tests.attack.pictures import MAX_PIXELS, SIDE, Pixels, Sample
from tests.attack.recorder import Recorder, recording

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(600)]

MIB = 1 << 20
GROWTH_MIB, TURNED_MIB = 64, 80
CODES = {400: {"image_unreadable"}, 413: {"image_too_large", "payload_too_large"}}
USERS, A_MINUTE = 40, 900


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with recording() as made:
        yield made


@pytest.fixture(scope="module")
def alone(recorder: Recorder) -> Iterator[Alone]:
    with proxy_alone(
        users=USERS, upstream_url=recorder.url, settings={"MODELPORT_IMAGE_MAX_PIXELS": str(MAX_PIXELS)}
    ) as running:
        for _ in range(3):
            assert send(running.endpoints[0], b"warm")[0] == 400
        yield running


@pytest.fixture(scope="module")
def hostile() -> list[Sample]:
    return list(pictures.hostile())


class Memory:
    """What a process holds more, at its worst, than when this was made."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)
        self._before = self._kib("VmRSS")
        (self._folder / "clear_refs").write_text("5")

    def grown_mib(self) -> float:
        return (self._kib("VmHWM") - self._before) / 1024

    def _kib(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def send(endpoint: Endpoint, data: bytes) -> tuple[int, dict[str, object]]:
    """Status and body; the file always says that it is a JPEG, because nobody should believe it."""
    parts = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=120)
    connection.request(
        "POST", parts.path, data, {"Authorization": f"Bearer {endpoint.key}", "Content-Type": "image/jpeg"}
    )
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return answer.status, said


def seen_by_the_model(recorder: Recorder) -> Pixels:
    """The pixels of the last call."""
    return np.frombuffer(recorder.calls[-1][-SIDE * SIDE * 3 :], np.uint8).reshape(SIDE, SIDE, 3)


def is_clear(status: int, said: dict[str, object]) -> bool:
    """A prediction, or a problem with a stable code, a sentence, and the field's name."""
    if status == 200:
        return "predictions" in said
    return said.get("code") in CODES.get(status, ()) and str(said["detail"]).startswith("image: ")


@pytest.mark.parametrize("sample", list(pictures.honest()), ids=lambda sample: sample.name)
def test_the_model_sees_the_right_pixels(alone: Alone, recorder: Recorder, sample: Sample) -> None:
    status, said = send(alone.endpoints[0], sample.data)
    assert status == 200, said
    assert sample.pixels is not None
    difference = np.abs(seen_by_the_model(recorder).astype(int) - sample.pixels.astype(int))
    assert difference.mean() <= sample.within


def test_hostile_files_are_refused_and_cost_little(
    alone: Alone, hostile: list[Sample], figure: Callable[..., None]
) -> None:
    pid = alone.server.pid
    wrong, grown = [], {}
    for sample in hostile:
        memory = Memory(pid)
        status, said = send(alone.endpoints[1], sample.data)
        grown[sample.name] = memory.grown_mib()
        if status not in sample.statuses or not is_clear(status, said):
            wrong.append((sample.name, status, said))
    worst = max(grown, key=lambda name: grown[name])
    figure(
        f"hostile pictures, one by one: MiB of memory more at the worst ({worst})",
        trials=len(hostile),
        measured=f"{grown[worst]:.0f}",
        promised=f"≤ {GROWTH_MIB}",
    )
    assert wrong == []
    assert grown[worst] <= GROWTH_MIB, sorted(grown.items(), key=lambda item: -item[1])[:14]
    assert send(alone.endpoints[0], next(pictures.honest()).data)[0] == 200


def test_a_phone_picture_that_exif_turns(alone: Alone, figure: Callable[..., None]) -> None:
    """The one kind that exists twice for a moment, upright and not."""
    memory = Memory(alone.server.pid)
    status, said = send(alone.endpoints[1], pictures.turned(4032, 3024))
    grown = memory.grown_mib()
    figure(
        "12 million pixels that EXIF turns: MiB of memory more",
        trials=1,
        measured=f"{grown:.0f}",
        promised=f"≤ {TURNED_MIB}",
    )
    assert (status, said["image"]) == (200, {"width": 3024, "height": 4032})
    assert grown <= TURNED_MIB


def test_sixteen_at_once(alone: Alone, hostile: list[Sample], figure: Callable[..., None]) -> None:
    """As many are unpacked at once as there are threads; the others wait as the bytes that they are."""
    costly = [sample.data for sample in hostile if "at the limit" in sample.name or "65,535 wide" in sample.name]
    wanted = [costly[number % len(costly)] for number in range(16)]
    memory = Memory(alone.server.pid)
    with ThreadPoolExecutor(16) as pool:
        statuses = [status for status, _ in pool.map(send, alone.endpoints[2:18], wanted)]
    allowed = (os.cpu_count() or 1) * GROWTH_MIB + sum(map(len, wanted)) / MIB
    measured = memory.grown_mib()
    figure(
        "sixteen costly pictures of sixteen users at once: MiB of memory more",
        trials=16,
        measured=f"{measured:.0f}",
        promised=f"≤ {allowed:.0f} ({GROWTH_MIB} a core, and the files)",
    )
    assert set(statuses) <= {200, 413}
    assert measured <= allowed


def test_damaged_files(alone: Alone, trials: Callable[[int, int], int], figure: Callable[..., None]) -> None:
    """Seeded: number N is the same file in every run."""
    number = trials(300, 20_000)
    memory, unclear = Memory(alone.server.pid), []
    seeds = [sample.data for sample in pictures.honest() if len(sample.data) < 20_000]
    for index, data in enumerate(pictures.mutations(seeds, number)):
        status, said = send(alone.endpoints[18 + index // A_MINUTE % (USERS - 18)], data)
        if not is_clear(status, said):
            unclear.append((index, status, said))
    grown = memory.grown_mib()
    figure(
        "damaged pictures: answers that are neither a prediction nor a clear refusal",
        trials=number,
        measured=len(unclear),
        promised=0,
    )
    assert unclear == []
    assert grown <= GROWTH_MIB
