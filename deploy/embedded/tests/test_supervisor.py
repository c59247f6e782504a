import asyncio
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from embedded.program import Program, StartError
from embedded.supervisor import Supervisor
from embedded.watchdog import MARKER, kill_all, processes_of

STACK_ID = "test-stack"
SLEEP = "import time; time.sleep(60)"


async def at_once() -> None:
    return None


def nothing(line: str = "") -> None:
    return None


def program(name: str, code: str) -> Program:
    env = {**os.environ, MARKER: f"{STACK_ID}-{os.getpid()}"}
    return Program(name=name, argv=(sys.executable, "-c", code), cwd="/", env=env, ports=(), ready=at_once)


def supervisor(tmp_path: Path, *stages: tuple[Program, ...], told: list[str] | None = None) -> Supervisor:
    return Supervisor(
        stages,
        logs=tmp_path,
        stack_id=f"{STACK_ID}-{os.getpid()}",
        stack_file=tmp_path / "stack.json",
        prepare=at_once,
        told=told.append if told is not None else nothing,
        changed=nothing,
    )


async def test_stages_start_in_order_and_nothing_is_left_after_the_stop(tmp_path: Path) -> None:
    told: list[str] = []
    stack = supervisor(tmp_path, (program("first", SLEEP),), (program("second", SLEEP),), told=told)
    await stack.start()
    assert [line.split()[0] for line in told] == ["first", "second"]
    assert set(processes_of(f"{STACK_ID}-{os.getpid()}", tmp_path)) == set(stack.pids.values())
    await stack.stop()
    assert processes_of(f"{STACK_ID}-{os.getpid()}", tmp_path) == []


async def test_a_failure_takes_everything_down_again(tmp_path: Path) -> None:
    async def never() -> None:
        raise StartError("bad", "it is broken", "mend it")

    broken = msgspec.structs.replace(program("bad", SLEEP), ready=never)
    stack = supervisor(tmp_path, (program("good", SLEEP),), (broken,))
    with pytest.raises(StartError, match="mend it"):
        await stack.start()
    assert processes_of(f"{STACK_ID}-{os.getpid()}", tmp_path) == []


MURDERED = """
    import asyncio, os, sys
    from pathlib import Path
    from embedded.program import Program
    from embedded.supervisor import Supervisor
    from embedded.watchdog import MARKER

    async def at_once(): pass

    # a child that forks a grandchild into a session of its own, as converters do
    code = "import os, time; os.fork() or os.setsid(); time.sleep(60)"
    env = {{**os.environ, MARKER: "{stack_id}"}}
    toy = Program(name="toy", argv=(sys.executable, "-c", code), cwd="/", env=env, ports=(), ready=at_once)

    async def main():
        Path("{folder}/stack.json").write_text("x")
        stack = Supervisor(((toy,),), logs=Path("{folder}"), stack_id="{stack_id}",
            stack_file=Path("{folder}/stack.json"), prepare=at_once, told=print, changed=lambda: None)
        await stack.start()
        await asyncio.sleep(60)

    asyncio.run(main())
"""


async def test_nothing_survives_a_supervisor_killed_without_warning(tmp_path: Path) -> None:
    stack_id = f"murder-{os.getpid()}"
    code = textwrap.dedent(MURDERED).format(stack_id=stack_id, folder=tmp_path)
    victim = subprocess.Popen([sys.executable, "-c", code])
    await until(lambda: len(processes_of(stack_id, tmp_path)) == 2)
    victim.kill()
    victim.wait()
    await until(lambda: not processes_of(stack_id, tmp_path))
    await until(lambda: not (tmp_path / "stack.json").exists())


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen within 20 s"
        await asyncio.sleep(0.05)


async def test_a_sandbox_without_an_environment_is_known_by_the_folder_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "bwrap").symlink_to(sys.executable)
    command = [str(tmp_path / "bwrap"), "-S", "-c", SLEEP, str(tmp_path / "home" / "work" / "job")]
    orphan = subprocess.Popen(command, env={})
    await until(lambda: processes_of("nobody", tmp_path / "home") == [orphan.pid])
    assert processes_of("nobody", tmp_path / "hom") == []
    assert kill_all("nobody", tmp_path / "home") == 1
    assert orphan.wait() == -9
