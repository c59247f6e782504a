"""Honest checkpoints of every framework: the sandbox, its filter and its limits block none."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.checkpoints.arena import Arena, Trial
from tests.attack.checkpoints.honest import HONEST, OFTEN

pytestmark = [pytest.mark.attack, pytest.mark.integration, pytest.mark.slow]
AT_ONCE = 2


@pytest.mark.timeout(1200)
async def test_no_honest_checkpoint_is_blocked(
    tmp_path: Path, figure: Callable[..., None], pytestconfig: pytest.Config
) -> None:
    names = list(HONEST) if pytestconfig.getoption("full") else list(OFTEN)
    arena, turns = Arena(tmp_path / "jobs"), asyncio.Semaphore(AT_ONCE)

    async def export(name: str) -> Trial:
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        async with turns:
            return await arena.run(await asyncio.to_thread(HONEST[name], folder))

    trials = await asyncio.gather(*map(export, names))
    blocked = {name: f"{trial.code}: {trial.message}" for name, trial in zip(names, trials, strict=True) if trial.code}
    figure("honest checkpoints that were blocked", trials=len(names), measured=len(blocked), promised=0)
    assert not blocked, "\n".join(f"{name}: {error}" for name, error in blocked.items())
    assert len(HONEST) >= 30
