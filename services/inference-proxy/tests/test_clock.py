"""The shared clock: a proxy's own wall clock moves nothing, answers narrow the bounds, a silent database ends it."""

import pytest

from contracts.errors import Transient
from inference_proxy.clock import VALID_S, SharedClock

TRUE = 1_768_435_200.0


class World:
    """A database whose clock runs beside ours; each way of a question takes its time."""

    def __init__(self) -> None:
        self.here = 5000.0
        self.set_by = 0.0
        self.there_s = self.back_s = 0.0
        self.away = False

    @property
    def true(self) -> float:
        return TRUE + self.here + self.set_by

    async def attend(self, valid_s: float) -> float:
        if self.away:
            raise Transient("unavailable", "away")
        self.here += self.there_s
        told = self.true
        self.here += self.back_s
        return told


async def test_time_goes_on_between_answers() -> None:
    world = World()
    clock = SharedClock(world, elapsed=lambda: world.here)
    await clock.sync()
    assert clock.now() == world.true
    world.here += 100
    assert clock.now() == pytest.approx(world.true, abs=1e-6)


async def test_slow_answers_only_narrow_what_is_known() -> None:
    world = World()
    clock = SharedClock(world, elapsed=lambda: world.here)
    for there_s, back_s in ((0.0, 3.0), (2.0, 0.01), (5.0, 5.0)):
        world.there_s, world.back_s = there_s, back_s
        await clock.sync()
    assert clock.now() == pytest.approx(world.true, abs=0.02)


async def test_database_whose_clock_was_set_is_followed() -> None:
    world = World()
    clock = SharedClock(world, elapsed=lambda: world.here)
    await clock.sync()
    for step in (3600.0, -7200.0):
        world.set_by += step
        await clock.sync()
        assert clock.now() == pytest.approx(world.true, abs=1e-3)


async def test_nothing_is_known_before_the_first_answer_or_long_after_the_last() -> None:
    world = World()
    clock = SharedClock(world, elapsed=lambda: world.here)
    with pytest.raises(Transient):
        clock.now()
    await clock.sync()
    world.away = True
    world.here += VALID_S
    with pytest.raises(Transient):
        await clock.sync()
    clock.now()
    world.here += 1
    with pytest.raises(Transient) as caught:
        clock.now()
    assert caught.value.headers["Retry-After"] == "2"
