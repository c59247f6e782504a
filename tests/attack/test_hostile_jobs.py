"""Hostile checkpoints as export jobs of the running platform: each ends failed, and the next job is unharmed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.vocabulary import ExportStatus
from samples.cache import Sample
from tests.attack.checkpoints.canaries import Canaries, canaries
from tests.attack.checkpoints.forms import hostile
from tests.attack.checkpoints.pickles import script
from tests.stack import Person

pytestmark = [pytest.mark.attack, pytest.mark.integration, pytest.mark.slow]
JOBS = {
    "link_out": "conversion_failed",
    "touch_canary": "checkpoint_unreadable",
    "forge": "conversion_failed",
    "daemons": "checkpoint_unreadable",
}
SMALL = 2


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Canaries]:
    with canaries(tmp_path / "host") as made:
        yield made


@pytest.mark.timeout(900)
def test_hostile_jobs_fail_and_the_next_is_unharmed(
    owner: Person,
    detector: Sample,
    watched: Canaries,
    tmp_path: Path,
    trials: Callable[[int, int], int],
    figure: Callable[..., None],
) -> None:
    deeds = list(JOBS)[: trials(SMALL, len(JOBS))]
    wrong = []
    for deed in deeds:
        _, name, body = hostile("torch zip", "builtins.exec", script(deed, watched.targets))
        path = tmp_path / deed / name
        path.parent.mkdir()
        path.write_bytes(body)
        job = owner.export(owner.register(detector, checkpoint=path))
        told = job.error.code if job.error else ""
        if job.status is not ExportStatus.FAILED or told != JOBS[deed] or watched.stung(str(job.error).encode()):
            wrong.append((deed, job.status, told, watched.stung()))
    after = owner.export(owner.register(detector))
    figure("hostile export jobs that reached a canary or ended otherwise", trials=len(deeds), measured=len(wrong), promised=0)  # fmt: skip
    assert wrong == []
    assert after.status is ExportStatus.COMPLETED, after.error
