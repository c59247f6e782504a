"""Job events over server-sent events: replay, live, several replicas."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

import asyncpg
import httpx
import pytest

from contracts.vocabulary import ExportStage
from gateway import progress
from gateway.app import build_app, running
from gateway.store import jobs
from gateway.testing.facts import Worker
from gateway.testing.outside import Client, Gateway
from servicekit.fixtures import Schema
from servicekit.http import make_server
from servicekit.postgres import Pool
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry

pytestmark = pytest.mark.integration
JOBS = "/api/v1/export/jobs"
Event = tuple[int, str, dict[str, object]]


async def events(
    http: httpx.AsyncClient, token: str, job_id: str, last: str = "", comments: list[str] | None = None
) -> AsyncIterator[Event]:
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
    async with http.stream("GET", f"{JOBS}/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            if line.startswith(":"):
                if comments is not None:
                    comments.append(line)
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield int(fields["id"]), fields["event"], json.loads(fields["data"])
                fields = {}


async def started(gateway: Gateway) -> tuple[Client, str, Worker]:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    return client, job["id"], Worker(await gateway.requested(job["id"]))


async def test_a_job_is_followed_to_its_end_and_replayed_from_anywhere(gateway: Gateway) -> None:
    client, job_id, worker = await started(gateway)
    comments: list[str] = []
    seen: list[Event] = []

    async def follow() -> None:
        async for event in events(gateway.http, client.token, job_id, comments=comments):
            seen.append(event)

    following = asyncio.create_task(follow())
    while not any("keep-alive" in line for line in comments):  # nothing happens: the stream is kept alive
        await asyncio.sleep(0.02)
    for fact in worker.story():
        await gateway.publish(fact)
    async with asyncio.timeout(60):
        await following
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    names = [name for _, name, _ in seen]
    assert names[0] == "requested"
    assert names[-1] == "completed"
    assert set(names) <= {"requested", "progressed", "exported", "completed"}
    last = seen[-1][2]
    assert (last["status"], last["progress_percent"], last["job_id"]) == ("completed", 100.0, job_id)
    assert last["at"]

    again = [event async for event in events(gateway.http, client.token, job_id)]
    assert again == seen
    rest = [event async for event in events(gateway.http, client.token, job_id, last="2")]
    assert rest == seen[2:]
    assert [event async for event in events(gateway.http, client.token, job_id, last=str(len(seen)))] == []


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_the_stream_ends_however_the_job_ends(gateway: Gateway, ending: str) -> None:
    client, job_id, worker = await started(gateway)
    await gateway.publish(worker.progressed(1, ExportStage.LOAD, 10))
    if ending == "failed":
        await gateway.publish(worker.failed(1))
    else:
        await client.post(f"{JOBS}/{job_id}/cancel")
    async with asyncio.timeout(60):
        seen = [event async for event in events(gateway.http, client.token, job_id)]
    assert seen[-1][1] == ending
    assert (seen[-1][2]["error"] is not None) == (ending == "failed")


async def test_another_replica_shows_what_this_one_folds(
    gateway: Gateway, pg_schema: Schema, telemetry: Telemetry
) -> None:
    client, job_id, worker = await started(gateway)
    (port,) = free_ports(1)
    async with running(gateway.parts.settings, telemetry, schema=pg_schema.name) as parts:
        server = make_server(build_app(parts), "127.0.0.1", port, grace_s=1)
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as other, asyncio.timeout(60):
            first = asyncio.create_task(collect(gateway.http, client.token, job_id))
            second = asyncio.create_task(collect(other, client.token, job_id))
            for fact in worker.story():
                await gateway.publish(fact)
            assert await first == await second
            assert (await first)[-1][1] == "completed"
        server.should_exit = True
        await serving


async def test_a_long_story_is_told_whole(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "EVENTS_AT_ONCE", 2)
    client, job_id, worker = await started(gateway)
    await gateway.publish(*worker.story())
    await gateway.until_job(client, job_id, "completed")
    count = await gateway.parts.pool.fetchval("SELECT count(*) FROM job_events")
    assert count > 2
    assert [number for number, _, _ in await collect(gateway.http, client.token, job_id)] == list(range(1, count + 1))


async def test_a_follower_who_leaves_is_forgotten(gateway: Gateway) -> None:
    client, job_id, _ = await started(gateway)
    async for _event in events(gateway.http, client.token, job_id):
        break
    async with asyncio.timeout(60):
        while gateway.parts.progress._watchers:
            await asyncio.sleep(0.02)


async def test_strange_last_event_ids_are_refused(gateway: Gateway) -> None:
    client, job_id, _ = await started(gateway)
    for last in ("-1", "x", "1" * 10, "1.5"):
        sent = {"Last-Event-ID": last}
        answer = await client.send("GET", f"{JOBS}/{job_id}/events", None, sent)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), last


async def collect(http: httpx.AsyncClient, token: str, job_id: str) -> list[Event]:
    return [event async for event in events(http, token, job_id)]


async def test_a_stream_outlives_an_absence_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    end = jobs.JobEvent(seq=7, name="completed", data={}, created_at=datetime.now(UTC))
    answers = [ConnectionRefusedError(), asyncpg.InterfaceError("released"), asyncpg.CannotConnectNowError(), [end]]

    async def events_after(*_: object) -> list[jobs.JobEvent]:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    monkeypatch.setattr(jobs, "events_after", events_after)
    monkeypatch.setattr(progress, "RETRY_S", 0.0)
    pool = cast(Pool, None)
    told = progress.stream(pool, progress.Progress(pool), uuid4(), after=0, is_over=False, keepalive_s=60)
    assert [part async for part in told] == [progress.KEEPALIVE] * 3 + [progress.encode(end)]
