"""A full work folder: wherever in a job the room ends, the job waits, is not given up, and goes on by itself when there is room."""

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.events import ExportFailedV1, ModelExportedV1

from .floor import Floor

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(600)]

PAGE = 4096
PAGES = 64
NEEDED = 9
ROOM = 1 << 30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of so many pages."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={PAGES * PAGE}", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


async def test_a_job_waits_for_room_wherever_that_ended(
    floor: Floor,
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
    trials: Callable[[int, int], int],
    figure: Callable[..., None],
) -> None:
    """Each trial leaves some pages more to the job, from none to about what it needs."""
    caplog.set_level(logging.INFO)
    filler = small_disk / "somebody else's"
    step, waited, given_up, made = trials(3, 1), 0, 0, 0
    async with floor.worker("export", small_disk):
        for left in range(0, NEEDED, step):
            resize(small_disk, PAGES * PAGE)
            filler.write_bytes(bytes((PAGES - left) * PAGE))
            caplog.clear()
            job = await floor.request()

            def is_over(job_id: object = job.job_id) -> bool:
                ended = [*floor.of(ModelExportedV1, job_id), *floor.of(ExportFailedV1, job_id)]
                return bool(ended) or "no space left" in caplog.text.lower()

            await floor.until(is_over, seconds=120)
            had_to_wait = not floor.of(ModelExportedV1, job.job_id)
            filler.unlink()
            resize(small_disk, ROOM)
            fact = await floor.end(job.job_id, seconds=120)
            made += 1
            waited += had_to_wait
            given_up += isinstance(fact, ExportFailedV1)
    figure(
        "a work folder that is full at each page of a job: jobs that waited",
        trials=made,
        measured=waited,
        promised="those without room",
    )
    figure(
        "a work folder that is full at each page of a job: jobs given up", trials=made, measured=given_up, promised=0
    )
    assert given_up == 0
    assert waited > 1
