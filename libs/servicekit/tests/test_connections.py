"""A bus waits for its server at the start, and tells of one that stays away without its password."""

import asyncio

import pytest

from contracts.errors import Transient
from servicekit import connections
from servicekit.bus import Bus
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer


@pytest.mark.integration
async def test_a_server_that_starts_later_is_waited_for(nats_server: NatsServer, telemetry: Telemetry) -> None:
    nats_server.stop()
    bus = Bus(nats_server.url, "test", telemetry)
    connecting = asyncio.create_task(bus.start())
    await asyncio.sleep(0.5)
    assert not connecting.done()
    await asyncio.to_thread(nats_server.start)
    await connecting
    await bus.check()
    assert (await bus.jetstream.stream_info("EXPORT")).config.name == "EXPORT"
    await bus.stop()


async def test_credentials_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "START_PATIENCE_S", 0.2)
    (port,) = free_ports(1)
    with pytest.raises(Transient) as caught:
        await connections.open_client(f"nats://user:secret@127.0.0.1:{port}", "test")
    assert caught.value.message == f"NATS at nats://127.0.0.1:{port} does not answer"
