"""Thousands of stories, each from one number: no promise is broken in any of them, and broken code is noticed."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .mutations import MUTATIONS
from .story import run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
FOUND_WITHIN = 300
CHUNK = 100
SHOWN = 5


def play(arguments: list[str]) -> list[str]:
    """What `python -m tests.simulation` tells of broken seeds; a process of its own, for this one has threads of other tests."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines, f"{command} ended with {done.returncode} and said nothing"
    assert lines[-1].endswith(" broken")
    return lines[:-1]


def play_all(runs: list[list[str]]) -> list[list[str]]:
    """As many at a time as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(play, runs))


def test_no_seed_breaks_a_promise(
    pytestconfig: pytest.Config, trials: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    chosen = pytestconfig.getoption("--seed", default=None)
    if chosen is not None:
        outcome = run(chosen)
        print(*outcome.story, sep="\n")
        assert not outcome.broken
        return
    seeds = trials(300, 10_000)
    chunk = max(CHUNK, seeds // 20)
    broken = [
        line
        for lines in play_all([[str(first), "--to", str(first + chunk)] for first in range(0, seeds, chunk)])
        for line in lines
    ]
    told = "; ".join([str(len(broken)), *broken[:SHOWN]])
    figure("simulated stories with a broken promise", trials=seeds, measured=told, promised=0)
    assert not broken, "replay with `python -m tests.simulation SEED`"


@pytest.mark.parametrize("seed", [2495, 4268, 8681])
def test_what_was_once_broken_is_not_broken_again(seed: int) -> None:
    """An answer to a wish stated anew was taken for the old answer."""
    assert not run(seed).broken


def test_the_same_seed_is_the_same_story() -> None:
    for seed in range(5):
        assert run(seed).story == run(seed).story


def test_every_break_is_found(figure: Callable[..., None]) -> None:
    found = play_all([["0", "--to", str(FOUND_WITHIN), "--broken", name] for name in MUTATIONS])
    seeds = [int(line.split()[1].rstrip(":")) for lines in found for line in lines]
    measured = f"{len(seeds)} found, the last by seed {max(seeds, default=0)}"
    figure("broken variants that the simulation finds", trials=len(found), measured=measured, promised="all")
    assert not [name for name, lines in zip(MUTATIONS, found, strict=True) if not lines]
