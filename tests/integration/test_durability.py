"""What is acknowledged is on the disk: each publication and each commit forces it there before it is answered."""

import asyncio
import subprocess
from contextlib import suppress

import asyncpg
import msgspec
import nats
import nats.errors
import pytest

from servicekit import servers
from servicekit.servers import free_ports
from tests.integration.nemeses.syscalls import traced

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(300)]

START_S = 60


async def answered(connect):
    """The first connection that a starting server takes."""
    async with asyncio.timeout(START_S):
        while True:
            with suppress(OSError, asyncpg.PostgresError, nats.errors.Error):
                return await connect()
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("sync_always", [True, False], ids=["as we run it", "by default"])
async def test_an_acknowledged_event_is_on_the_disk(tmp_path, figure, trials, sync_always):
    """The second case shows that the first one could fail: a server of default settings acknowledges before it syncs."""
    port, monitor = free_ports(2)
    command = servers.nats_command(tmp_path / "nats", port=port, monitor_port=monitor, sync_always=sync_always)
    with traced(command, tmp_path / "calls") as server:
        client = await answered(lambda: nats.connect(f"nats://127.0.0.1:{port}", max_reconnect_attempts=0))
        jetstream = client.jetstream()
        await jetstream.add_stream(name="EXPORT", subjects=["export.>"])
        unsynced, count = 0, trials(20, 200)
        for number in range(count):
            before = server.forced()
            await jetstream.publish("export.jobs.requested.v1.onnx", str(number).encode())
            unsynced += server.forced() == before
        await client.close()
    if not sync_always:
        assert unsynced > 0
        return
    figure("events acknowledged before an fsync of nats-server", trials=count, measured=unsynced, promised=0)
    assert unsynced == 0


async def test_a_commit_is_on_the_disk_when_it_returns(tmp_path, figure, trials):
    folder, (port,) = tmp_path / "postgres", free_ports(1)
    initdb = servers.initdb_command(folder, user="modelport", password="secret")
    done = subprocess.run(initdb.argv, cwd=initdb.cwd, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    with traced(servers.postgres_command(folder, port=port), tmp_path / "calls") as server:
        dsn = f"postgresql://modelport:secret@127.0.0.1:{port}/postgres"
        connection = await answered(lambda: asyncpg.connect(dsn, timeout=START_S))
        await connection.execute("CREATE TABLE outbox (id bigint)")
        unsynced, count = 0, trials(20, 200)
        for number in range(count):
            before = server.forced()
            await connection.execute("INSERT INTO outbox VALUES ($1)", number)
            unsynced += server.forced() == before
        await connection.close()
    figure("commits answered before an fsync of PostgreSQL", trials=count, measured=unsynced, promised=0)
    assert unsynced == 0


def test_the_stack_runs_a_server_that_syncs_every_write(stack):
    """Read back from the server itself; the stack does not start with another one."""
    about = read(f"http://127.0.0.1:{stack.ports.nats_monitor}/jsz")
    assert about["config"]["sync_always"] is True


def read(url):
    import urllib.request

    with urllib.request.urlopen(url, timeout=60) as answer:
        return msgspec.json.decode(answer.read())
