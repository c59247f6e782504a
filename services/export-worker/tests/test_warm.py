"""A warm run is always waited for, and a toolchain that does not come up is tried less and less often."""

import asyncio

import pytest

from contracts.vocabulary import Framework
from export_worker.launchers.warm import WarmKeeper


class CountingLauncher:
    """Remembers which toolchains were asked for."""

    def __init__(self, enough: int) -> None:
        self.asked: list[Framework] = []
        self.has_enough = asyncio.Event()
        self._enough = enough

    async def warm_up(self, framework: Framework) -> bool:
        self.asked.append(framework)
        if len(self.asked) >= self._enough:
            self.has_enough.set()
        return framework is not Framework.TIMM


async def test_the_keeper_looks_after_its_warm_runs_all_the_time() -> None:
    launcher = CountingLauncher(enough=5)
    keeper = WarmKeeper(launcher, [Framework.ULTRALYTICS], 0.001)
    keeper.start()
    await asyncio.wait_for(launcher.has_enough.wait(), 60)
    await keeper.stop()
    assert set(launcher.asked) == {Framework.ULTRALYTICS}


async def test_a_toolchain_that_fails_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 12:
            await asyncio.Event().wait()
        await real(0)

    real = asyncio.sleep
    monkeypatch.setattr("export_worker.launchers.warm.asyncio.sleep", note)
    keeper = WarmKeeper(CountingLauncher(enough=100), [Framework.ULTRALYTICS, Framework.TIMM], 0.1)
    keeper.start()
    while len(waits) < 12:
        await real(0)
    await keeper.stop()
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 30.0


async def test_no_framework_is_no_work() -> None:
    launcher = CountingLauncher(enough=1)
    keeper = WarmKeeper(launcher, [], 0.001)
    keeper.start()
    await keeper.stop()
    assert launcher.asked == []
