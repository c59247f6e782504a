"""The test servers themselves: readiness, kill, restart, a clear failure."""

import asyncio
from pathlib import Path

import pytest

from servicekit import testing
from servicekit.servers import ServerCommand
from servicekit.testing import Server, ServerFailed, eventually


@pytest.mark.integration
def test_a_server_is_gone_after_its_context(tmp_path: Path) -> None:
    with testing.nats_server(tmp_path) as server:
        pid = server.pid
        server.restart()
        assert server.pid != pid
        pid = server.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_that_fails_shows_its_log(tmp_path: Path) -> None:
    command = ServerCommand(name="x", argv=("/bin/sh", "-c", "echo port taken; exit 3"), cwd=str(tmp_path), port=1)
    with pytest.raises(ServerFailed, match="port taken"):
        Server(command, tmp_path / "log").start()


async def test_eventually_waits_and_gives_up() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, event.set)
    await eventually(event.is_set)
    with pytest.raises(TimeoutError):
        await eventually(lambda: False, patience_s=0.05)
