"""A command in a sandbox by one call: what it reads and writes, how it ends, and that nothing of it is left."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from servicekit.sandbox import command, watch
from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bubblewrap import MIB, Limits, Sandbox
from servicekit.sandbox.contained import Broken

pytestmark = pytest.mark.integration
LIMITS = Limits(memory_bytes=256 * MIB, processes=64, disk_bytes=64 * MIB, log_bytes=4096, wall_s=100.0)
PYTHON = (sys.executable, "-I", "-S", "-c")


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    folder = tmp_path / "private" / "shown"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    (folder / "words.txt").write_text("read me")
    return folder


async def run(box: Sandbox | Bare, tmp_path: Path, code: str, *reads: Path, **limits: object) -> command.Ended:
    return await command.run(
        box, (*PYTHON, code), root=tmp_path / "run", reads=reads, limits=structs.replace(LIMITS, **limits)
    )


async def test_it_reads_what_it_is_shown_and_writes_its_folder_alone(
    sandbox: Sandbox, tmp_path: Path, shown: Path
) -> None:
    code = (
        f"import os, sys; print(open({str(shown / 'words.txt')!r}).read()); open('made', 'w').write('x')\n"
        f"try: open({str(shown / 'new')!r}, 'w')\n"
        "except OSError as error: print(error.strerror, file=sys.stderr)\n"
        f"print(os.listdir({str(shown.parent)!r})); sys.exit(3)"
    )
    (shown.parent / "hidden").write_text("secret")
    ended = await run(sandbox, tmp_path, code, shown)
    assert (ended.exit_code, ended.broken, ended.signal) == (3, None, None), ended
    assert ended.output == b"read me\n['shown']\n"
    assert ended.errors == b"Read-only file system\n"
    assert (tmp_path / "run/job/made").read_text() == "x"


async def test_without_a_sandbox_it_says_the_same(tmp_path: Path, shown: Path) -> None:
    ended = await run(Bare(), tmp_path, f"print(open({str(shown / 'words.txt')!r}).read())", shown)
    assert (ended.exit_code, ended.output) == (0, b"read me\n")


@pytest.mark.parametrize(
    ("code", "broken", "limits"),
    [
        ("hold = []\nwhile True: hold.append(bytearray(b'1') * (1 << 22))", Broken.MEMORY, {}),
        ("import time; time.sleep(600)", Broken.TIME, {"wall_s": 0.5}),
    ],
)
async def test_it_is_ended_at_its_limits(
    sandbox: Sandbox, tmp_path: Path, code: str, broken: Broken, limits: dict[str, object]
) -> None:
    assert (await run(sandbox, tmp_path, code, **limits)).broken is broken


async def test_of_much_output_both_ends_are_kept(sandbox: Sandbox, tmp_path: Path) -> None:
    ended = await run(sandbox, tmp_path, "print('first'); print('x' * (1 << 20)); print('last')")
    assert ended.exit_code == 0
    assert len(ended.output) < LIMITS.log_bytes + 200
    assert ended.output.startswith(b"first\n")
    assert ended.output.endswith(b"last\n")


async def test_a_command_that_closes_its_output_is_still_waited_for(sandbox: Sandbox, tmp_path: Path) -> None:
    ended = await run(sandbox, tmp_path, "import os, time; os.close(1); time.sleep(0.3); os._exit(4)")
    assert ended.exit_code == 4


async def test_what_it_leaves_behind_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    """Its output stays open in the child, which must not keep the call waiting either."""
    ended = await run(sandbox, tmp_path, "import os, time\nif os.fork() == 0: time.sleep(600)")
    assert ended.exit_code == 0


async def test_a_cancelled_call_leaves_no_process(sandbox: Sandbox, tmp_path: Path) -> None:
    began = tmp_path / "run/job/began"
    running = asyncio.create_task(run(sandbox, tmp_path, "import time; open('began', 'w'); time.sleep(600)"))
    await until(began.exists)
    inside = [pid for pid in watch.tree(os.getpid()) if pid != os.getpid()]
    assert inside
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(watch.is_alive(pid) for pid in inside)


async def test_a_call_cancelled_again_and_again_while_it_begins_leaves_no_process(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    before = set(watch.tree(os.getpid()))
    running = asyncio.create_task(run(sandbox, tmp_path, "import time; time.sleep(600)"))
    await until(lambda: set(watch.tree(os.getpid())) > before)
    while not running.done():
        running.cancel()
        await asyncio.sleep(0)
    assert set(watch.tree(os.getpid())) <= before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
