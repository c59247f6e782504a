"""Thousands of stories, each from one number: no promise is broken in any of them, and broken code is noticed."""

import multiprocessing
import os
from collections.abc import Callable

import pytest

from .mutations import MUTATIONS
from .story import Outcome, run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

FOUND_WITHIN = 300
SHOWN = 5


def play(seed: int) -> Outcome | None:
    """The outcome where it is broken; the stories of the others are nobody's business."""
    outcome = run(seed)
    return outcome if outcome.broken else None


def play_all(count: int) -> list[Outcome]:
    """Seeds 0 to count, by all processors."""
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        return [outcome for outcome in pool.imap_unordered(play, range(count), chunksize=25) if outcome]


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
    broken = play_all(seeds)
    told = f"{len(broken)}" + "".join(f"; seed {one.seed}: {one.broken}" for one in broken[:SHOWN])
    figure("simulated stories with a broken promise", trials=seeds, measured=told, promised=0)
    assert not broken, f"replay with `python -m tests.simulation {broken[0].seed}`"


def test_the_same_seed_is_the_same_story() -> None:
    for seed in range(5):
        assert run(seed).story == run(seed).story


def first_found(name: str) -> int | None:
    return next((seed for seed in range(FOUND_WITHIN) if run(seed, MUTATIONS[name]).broken), None)


def test_every_break_is_found(figure: Callable[..., None]) -> None:
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        found = dict(zip(MUTATIONS, pool.map(first_found, MUTATIONS, chunksize=1), strict=True))
    caught = [seed for seed in found.values() if seed is not None]
    measured = f"{len(caught)} found, the last by seed {max(caught, default=0)}"
    figure("broken variants that the simulation finds", trials=len(found), measured=measured, promised="all")
    assert not [name for name, seed in found.items() if seed is None]
