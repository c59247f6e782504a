"""Warm runs are made in idle time alone."""

import asyncio

from contracts.vocabulary import Framework
from export_worker.launchers.warm import WarmKeeper


class CountingLauncher:
    """Remembers which toolchains were asked for."""

    def __init__(self) -> None:
        self.asked: list[Framework] = []

    async def warm_up(self, framework: Framework) -> bool:
        self.asked.append(framework)
        return framework is not Framework.TIMM


async def kept(frameworks: list[Framework], idle: asyncio.Event, seconds: float) -> list[Framework]:
    launcher = CountingLauncher()
    keeper = WarmKeeper(launcher, frameworks, idle, 0.01)
    keeper.start()
    await asyncio.sleep(seconds)
    await keeper.stop()
    return launcher.asked


async def test_a_busy_worker_warms_nothing() -> None:
    assert await kept([Framework.ULTRALYTICS], asyncio.Event(), 0.1) == []


async def test_an_idle_worker_keeps_looking_after_its_warm_run() -> None:
    idle = asyncio.Event()
    idle.set()
    assert len(await kept([Framework.ULTRALYTICS], idle, 0.2)) > 2


async def test_a_toolchain_that_fails_is_not_tried_all_the_time() -> None:
    idle = asyncio.Event()
    idle.set()
    assert await kept([Framework.ULTRALYTICS, Framework.TIMM], idle, 0.2) == [Framework.ULTRALYTICS, Framework.TIMM]
