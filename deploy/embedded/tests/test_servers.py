import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedded.program import StartError, syncs_every_write
from embedded.servers import _clear_lock
from servicekit import servers
from servicekit.testing import NatsServer


def lock_of(folder: Path, pid: int) -> Path:
    path = folder / "postmaster.pid"
    path.write_text(f"{pid}\n/some/folder\n")
    return path


def test_the_lock_of_a_dead_postmaster_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = lock_of(tmp_path, gone.pid)
    _clear_lock(path)
    assert not path.exists()


def test_the_lock_of_a_zombie_is_removed(tmp_path: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    path = lock_of(tmp_path, zombie.pid)
    _clear_lock(path)
    assert not path.exists()
    zombie.wait()


def test_the_lock_of_a_living_process_stays(tmp_path: Path) -> None:
    path = lock_of(tmp_path, os.getpid())
    _clear_lock(path)
    assert path.exists()


def test_no_lock_is_no_error(tmp_path: Path) -> None:
    _clear_lock(tmp_path / "postmaster.pid")


@pytest.mark.integration
@pytest.mark.parametrize("sync_always", [True, False])
async def test_a_bus_that_acknowledges_before_it_syncs_is_refused(tmp_path: Path, sync_always: bool) -> None:
    port, monitor = servers.free_ports(2)
    command = servers.nats_command(tmp_path / "nats", port=port, monitor_port=monitor, sync_always=sync_always)
    server = NatsServer(command, tmp_path / "nats.log")
    try:
        server.start()
        if sync_always:
            await syncs_every_write(monitor)()
            return
        with pytest.raises(StartError, match="sync_interval"):
            await syncs_every_write(monitor)()
    finally:
        server.stop()
