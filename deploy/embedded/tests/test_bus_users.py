"""The bus knows its users: nobody connects without a name, and no service states another's fact."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from contracts.publishers import OPERATOR, PUBLISHERS
from contracts.subjects import EVENTS, LEASES, STREAMS, filter_subject
from embedded.secrets import Secrets, load_or_create
from embedded.servers import bus_users
from embedded.services import bus_url
from servicekit import servers
from servicekit.bus import Bus
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer

pytestmark = [pytest.mark.integration, pytest.mark.attack]

PATIENCE_S, REFUSAL_S = 60.0, 1.0
SUBJECTS = [filter_subject(event).replace("*", "onnx") for event in EVENTS]


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return load_or_create(tmp_path / "secrets.json")


@pytest.fixture
def port(tmp_path: Path, secrets: Secrets) -> Iterator[int]:
    client, monitor = servers.free_ports(2)
    command = servers.nats_command(tmp_path / "nats", port=client, monitor_port=monitor, users=bus_users(secrets))
    server = NatsServer(command, tmp_path / "nats.log")
    server.start()
    yield client
    server.stop()


async def accepted(client: Client, subject: str, patience_s: float) -> bool:
    """Whether JetStream acknowledges a message on this subject within that time."""
    try:
        await client.jetstream().publish(subject, b"{}", timeout=patience_s)
    except nats.errors.TimeoutError:
        return False
    return True


async def test_nobody_connects_without_a_name(port: int) -> None:
    for url in (
        f"nats://127.0.0.1:{port}",
        f"nats://gateway:wrong@127.0.0.1:{port}",
        f"nats://admin:@127.0.0.1:{port}",
    ):
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=0)


async def test_no_service_states_anothers_fact(
    port: int, secrets: Secrets, telemetry: Telemetry, figure: Callable[..., None]
) -> None:
    """Every service declares the streams and buckets that it needs, and states each fact of its own, and no other."""
    operator = Bus(bus_url(port, secrets, OPERATOR), "operator", telemetry)
    await operator.connect()
    await operator.kv(LEASES)
    lease = f"$KV.{LEASES}.stolen"
    wrong, refused_of = [], 0
    for name, publisher in PUBLISHERS.items():
        bus = Bus(bus_url(port, secrets, name), name, telemetry)
        await bus.connect()
        await bus.stop()
        own = {filter_subject(fact).replace("*", "onnx") for fact in publisher.facts}
        own |= {lease} if LEASES in publisher.buckets else set()
        others = [subject for subject in (*SUBJECTS, lease) if subject not in own]
        client = await nats.connect(bus_url(port, secrets, name), allow_reconnect=False, error_cb=quiet)
        said = await asyncio.gather(*(accepted(client, subject, PATIENCE_S) for subject in own))
        stolen = await asyncio.gather(*(accepted(client, subject, REFUSAL_S) for subject in others))
        await client.close()
        wrong += [(name, subject) for subject, done in zip(own, said, strict=True) if not done]
        wrong += [(name, subject) for subject, done in zip(others, stolen, strict=True) if done]
        refused_of += len(others)
    names = [*(stream.name for stream in STREAMS), f"KV_{LEASES}"]
    kept = [(await operator.jetstream.stream_info(name)).state.last_seq for name in names]
    await operator.stop()
    figure("facts that a service could state in another's name", trials=refused_of, measured=len(wrong), promised=0)
    assert not wrong
    assert sum(kept) == len(PUBLISHERS) * (len(SUBJECTS) + 1) - refused_of, "the server kept what was allowed alone"


async def quiet(_: Exception) -> None:
    """Refusals are what is tested."""


def test_passwords_are_in_no_command_line_and_no_file_of_others(tmp_path: Path, secrets: Secrets) -> None:
    command = servers.nats_command(tmp_path / "bus", port=4222, monitor_port=8222, users=bus_users(secrets))
    passwords = [secrets.of_bus_user(name) for name in (OPERATOR, *PUBLISHERS)]
    assert len(set(passwords)) == len(passwords)
    assert not [word for word in (*command.argv, *command.env.values()) for password in passwords if password in word]
    assert (tmp_path / "bus" / "nats.conf").stat().st_mode & 0o777 == 0o600


def test_secrets_of_an_earlier_version_get_a_password(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(
        '{"postgres_password":"a","s3_access_key":"b","s3_secret_key":"c","key_pepper":"d","admin_token":"e"}'
    )
    made = load_or_create(path)
    assert made.nats_password
    assert load_or_create(path) == made
