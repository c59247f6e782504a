"""Export jobs, deployments and calls while every service and every server is killed in turn: nothing lost, nothing doubled."""

import asyncio
import io
import itertools
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from PIL import Image

from modelport import Client
from samples.cache import describe
from tests.integration.chaos import audit, storm
from tests.integration.chaos.archive import archive
from tests.integration.chaos.load import Ledger, Load
from tests.stack import Person, Stack, free_base

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(300)]

LEASE_S = 6.0
CLIENTS = 6
QUICK = {
    "ACK_WAIT_S": str(LEASE_S),
    "HEARTBEAT_S": "1.5",
    "SLOTS": "3",
    "REPUBLISH_AFTER_S": "5",
    "RECONCILE_INTERVAL_S": "1",
}
SOURCE = "digits-huggingface"
REAL = ("digits-timm", "digits-ultralytics")
DEPLOY_EVERY = 5
THROUGHPUT = 0.95
SEED = 20261123


@dataclass(frozen=True)
class Scale:
    """Of one edition.

    jobs            in all, at the least
    calm, every     jobs before the first fault, and between two faults
    real            exports that the real converter makes
    window(s)       jobs in a window of throughput, and how many of them are granted after the last fault
    """

    jobs: int
    calm: int
    kills: int
    every: int
    real: int
    window: int
    windows: int


@dataclass(frozen=True)
class Aftermath:
    """What is left when the storm is over."""

    scale: Scale
    archived: UUID
    ledger: Ledger
    faults: list[storm.Fault]
    findings: audit.Findings
    runs: list[audit.Run]


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    script = Path(__file__).parent / "up.py"
    running = Stack(tmp_path_factory.mktemp("chaos"), free_base(), script=script, **QUICK)
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def scale(trials: Callable[[int, int], int]) -> Scale:
    return Scale(
        jobs=trials(40, 500),
        calm=trials(11, 60),
        kills=trials(7, 25),
        every=trials(2, 13),
        real=trials(1, 21),
        window=trials(4, 25),
        windows=trials(1, 4),
    )


@pytest.fixture(scope="module")
def aftermath(stormy: Stack, scale: Scale, tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    about = stormy.about
    with Client(about.gateway_url, about.token) as admin:
        user = admin.users.create("chaos", "pro")
    with Client(about.gateway_url, user.token, about.proxy_url) as client:
        person = Person(str(user.id), client)
        source = person.register(describe(SOURCE))
        first = person.export(source)
        packed = tmp_path_factory.mktemp("archive") / "model.zip"
        asyncio.run(archive(stormy, first, packed))
        training = person.register(describe(SOURCE), checkpoint=packed)
        real = [source.id, *(person.register(describe(name)).id for name in REAL if scale.real > 1)]
        with Load(client, plan(scale, training.id, real), CLIENTS) as load:
            load.ledger.acknowledged["first"] = first
            storm.wait_for(lambda: load.done, scale.calm)
            faults = rage(stormy, scale, load)
            load.hush()
            afterwards(scale, load, faults)
            storm.wait_for(lambda: load.done, scale.jobs)
            load.stop()
    findings = asyncio.run(audit.audit(stormy, load.ledger, str(user.id)))
    return Aftermath(scale, training.id, load.ledger, faults, findings, asyncio.run(audit.runs(stormy, str(user.id))))


def rage(stack: Stack, scale: Scale, load: Load) -> list[storm.Fault]:
    """The storm; endpoints are deployed and called in its course, the first at its beginning."""
    shown = pictures()

    def deploy(number: int) -> None:
        if number % DEPLOY_EVERY == 0:
            load.deploy(load.ledger.ended[-1].job, shown, every_s=0.7)

    return storm.rage(stack, scale.kills, scale.every, lambda: load.done, SEED, deploy)


def afterwards(scale: Scale, load: Load, faults: list[storm.Fault]) -> None:
    """Let the jobs go on until they flow as before the storm, or for as many windows as are granted."""
    for _ in range(scale.windows):
        storm.wait_for(lambda: load.done, load.done + scale.window)
        if recovered(scale, load.ledger, faults) >= THROUGHPUT:
            return


def recovered(scale: Scale, ledger: Ledger, faults: list[storm.Fault]) -> float:
    """Jobs a second of the best window after the last fault, as a share of the median window before the first."""
    ends = sorted(one.at for one in ledger.ended)
    began, over = faults[0].at, faults[-1].at + faults[-1].ready_s
    calm = rates([at for at in ends if at < began][CLIENTS:], scale.window)
    after = rates([at for at in ends if at > over], scale.window)
    return max(after, default=0.0) / statistics.median(calm)


def rates(ends: list[float], window: int) -> list[float]:
    """Jobs a second in each whole window of so many ends."""
    return [window / (ends[at + window] - ends[at]) for at in range(0, len(ends) - window, window)]


def plan(scale: Scale, training: UUID, real: list[UUID]) -> Iterator[UUID]:
    """Whose checkpoint is exported next: real exports are spread over the storm, all others are stand-ins."""
    yield from itertools.repeat(training, scale.calm)
    apart = scale.kills * scale.every // scale.real
    for one in itertools.islice(itertools.cycle(real), scale.real):
        yield one
        yield from itertools.repeat(training, apart - 1)
    yield from itertools.repeat(training)


def pictures() -> list[bytes]:
    """A few small ones."""
    chance, encoded = random.Random(SEED), []
    for _ in range(3):
        buffer = io.BytesIO()
        Image.frombytes("RGB", (32, 32), chance.randbytes(32 * 32 * 3)).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    return encoded


def real_exports(aftermath: Aftermath) -> int:
    """Jobs that were not those of the archive."""
    return sum(one.job.training_job_id != aftermath.archived for one in aftermath.ledger.ended)


def test_no_job_is_lost(aftermath, figure):
    jobs = len(aftermath.ledger.acknowledged)
    figure("acknowledged jobs lost", trials=jobs, measured=len(aftermath.findings.lost), promised=0)
    figure("SIGKILLs meanwhile", trials=jobs, measured=len(aftermath.faults), promised=aftermath.scale.kills)
    figure("real exports among the jobs", trials=jobs, measured=real_exports(aftermath), promised=aftermath.scale.real)
    assert not aftermath.findings.lost
    assert real_exports(aftermath) >= aftermath.scale.real


def test_nothing_happens_twice(aftermath, figure):
    jobs = len(aftermath.ledger.acknowledged)
    figure("doubled effects", trials=jobs, measured=len(aftermath.findings.doubled), promised=0)
    assert not aftermath.findings.doubled


def test_every_job_ends_in_time(aftermath, figure, pytestconfig):
    """Counted from the request; the median is that of the jobs with the same checkpoint."""
    own = {
        one: [run for run in aftermath.runs if run.training_id == one]
        for one in {r.training_id for r in aftermath.runs}
    }
    medians = {one: statistics.median(run.seconds for run in found) for one, found in own.items()}
    late = [run for run in aftermath.runs if run.seconds > LEASE_S + 3 * medians[run.training_id]]
    figure("jobs later than lease + 3 × median", trials=len(aftermath.runs), measured=len(late), promised=0)
    if pytestconfig.getoption("full"):
        assert not late


def test_the_jobs_flow_as_before(aftermath, figure, pytestconfig):
    share = recovered(aftermath.scale, aftermath.ledger, aftermath.faults)
    figure("throughput after the last fault", trials=aftermath.scale.window, measured=f"{share:.2f}", promised="≥ 0.95")
    if pytestconfig.getoption("full"):
        assert share >= THROUGHPUT
