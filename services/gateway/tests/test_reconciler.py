"""What the bus or a worker has lost is found and repaired."""

import asyncio
from uuid import UUID

import pytest

from contracts.events import ExportCancelledV1, ExportFailedV1, ExportRequestedV1
from contracts.subjects import LEASES, package_lease
from contracts.vocabulary import ExportStage
from gateway import losses
from gateway.reconciler import Reconciler
from gateway.testing import facts
from gateway.testing.facts import Worker
from gateway.testing.outside import Client, Gateway, until
from servicekit.leases import Done, Lease, Leases

pytestmark = pytest.mark.integration


async def started(gateway: Gateway) -> tuple[Client, str, Worker]:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    return client, job["id"], Worker(await gateway.requested(job["id"]))


async def set_back(gateway: Gateway, column: str, seconds: float, table: str = "export_jobs") -> None:
    await gateway.parts.pool.execute(f"UPDATE {table} SET {column} = {column} - make_interval(secs => $1)", seconds)


async def test_a_request_nobody_answers_is_stated_again_less_and_less_often(gateway: Gateway) -> None:
    client, job_id, worker = await started(gateway)

    async def requests(count: int) -> list[ExportRequestedV1]:
        async def find() -> list[ExportRequestedV1] | None:
            found = await gateway.stated(ExportRequestedV1)
            return found if len(found) >= count else None

        return await until(find)

    await set_back(gateway, "requested_at", 61)
    assert await requests(2) == [worker.request] * 2
    await set_back(gateway, "requested_at", 61)
    await asyncio.sleep(0.6)
    assert len(await requests(2)) == 2
    await set_back(gateway, "requested_at", 60)
    assert len(await requests(3)) == 3
    await gateway.publish(worker.progressed(1, ExportStage.LOAD, 3))
    await gateway.until_job(client, job_id, "running")
    await set_back(gateway, "requested_at", 3600)
    await asyncio.sleep(0.6)
    assert len(await requests(3)) == 3
    stored = await gateway.parts.bus.jetstream.get_last_msg("EXPORT", "export.jobs.requested.v1.onnx")
    job = await client.get(f"/api/v1/export/jobs/{job_id}")
    assert stored.headers is not None
    assert job["trace_id"].replace("-", "") in stored.headers["traceparent"]


@pytest.mark.parametrize(
    ("column", "seconds", "attempt"),
    [("released_at", 86_401, 0), ("heard_at", 1_201, 1), ("attempt_started_at", 2_101, 1)],
)
async def test_a_job_out_of_time_ends_and_stops_its_worker(
    gateway: Gateway, column: str, seconds: float, attempt: int
) -> None:
    client, job_id, worker = await started(gateway)
    if attempt:
        await gateway.publish(worker.progressed(attempt, ExportStage.CONVERT, 30))
        await gateway.until_job(client, job_id, "running")
    await set_back(gateway, column, seconds)
    failed = await gateway.until_job(client, job_id, "failed")
    assert failed["error"]["code"] == "deadline_exceeded"
    assert failed["completed_at"] is not None

    async def told() -> bool | None:
        cancelled = await gateway.stated(ExportCancelledV1)
        ended = await gateway.stated(ExportFailedV1)
        return bool(cancelled and ended and ended[0].attempt == attempt) or None

    await until(told)
    await gateway.publish(*worker.story(attempt or 1))
    await asyncio.sleep(0.3)
    assert (await client.get(f"/api/v1/export/jobs/{job_id}"))["status"] == "failed"


async def test_progress_that_says_nothing_new_still_proves_life(gateway: Gateway) -> None:
    client, job_id, worker = await started(gateway)
    await gateway.publish(worker.progressed(1, ExportStage.CONVERT, 30))
    await gateway.until_job(client, job_id, "running")
    before = await gateway.parts.pool.fetchval("SELECT heard_at FROM export_jobs")
    await gateway.publish(worker.progressed(1, ExportStage.FETCH, 3))

    async def heard() -> bool | None:
        return await gateway.parts.pool.fetchval("SELECT heard_at FROM export_jobs") > before or None

    await until(heard)
    assert (await client.get(f"/api/v1/export/jobs/{job_id}"))["stage"] == "convert"


async def test_a_wish_the_deployer_did_not_answer_is_stated_again(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    body = {"export_job_id": job["id"], "deployment_type": "platform_endpoint", "name": "x"}
    made = await client.post("/api/v1/deployments", body)
    first = (await gateway.wishes(made["id"]))[0]
    rotated = await client.post(f"/api/v1/deployments/{made['id']}/rotate-key")
    await set_back(gateway, "requested_at", 61, "deployment_targets")
    second = (await gateway.wishes(made["id"], 2))[1]
    assert second.generation == first.generation
    assert second.access.key_digests != first.access.key_digests
    assert rotated["generation"] == 1
    await gateway.publish(facts.activated(second))
    await gateway.until_deployment(client, made["id"], "active")
    await set_back(gateway, "requested_at", 3600, "deployment_targets")
    await asyncio.sleep(0.6)
    assert len(await gateway.wishes(made["id"], 2)) == 2


async def test_a_deployment_that_nobody_answers_fails_and_may_still_come_up(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    body = {"export_job_id": job["id"], "deployment_type": "platform_endpoint", "name": "x"}
    made = await client.post("/api/v1/deployments", body)
    (wish,) = await gateway.wishes(made["id"])
    await set_back(gateway, "asked_at", 1_801, "deployment_targets")
    failed = await gateway.until_deployment(client, made["id"], "failed")
    assert failed["error"]["code"] == "deadline_exceeded"
    await gateway.publish(facts.activated(wish))
    assert (await gateway.until_deployment(client, made["id"], "active"))["error"] is None


async def test_leases_that_the_bus_lost_count_on(gateway: Gateway) -> None:
    """An attempt that began anew at 1 loses its lease; what has ended is done for whoever asks again."""
    client, job_id, worker = await started(gateway)
    done = await gateway.completed(client)
    await gateway.publish(worker.progressed(3, ExportStage.CONVERT, 30))
    await gateway.until_job(client, job_id, "running")
    leases = Leases(gateway.parts.bus)
    await losses.notice(gateway.parts)
    await gateway.parts.bus.jetstream.delete_stream(f"KV_{LEASES}")
    await gateway.until_job(client, job_id, "pending")

    async def next_lease() -> Lease | None:
        taken = await leases.take(job_id, "another worker")
        return taken if isinstance(taken, Lease) else None

    assert (await until(next_lease)).attempt == 4
    assert isinstance(await leases.take(done["id"], "a worker"), Done)


async def test_old_progress_is_forgotten(gateway: Gateway) -> None:
    client, job_id, worker = await started(gateway)
    await gateway.publish(*worker.story())
    await gateway.until_job(client, job_id, "completed")
    await set_back(gateway, "created_at", 2_592_001, "job_events")
    await Reconciler(gateway.parts).prune()
    names = [record["name"] for record in await gateway.parts.pool.fetch("SELECT name FROM job_events ORDER BY seq")]
    assert names[0] == "requested"
    assert names[-1] == "completed"
    assert "progressed" not in names


async def test_a_bus_that_lost_everything_learns_it_again(gateway: Gateway) -> None:
    client, job_id, worker = await started(gateway)
    other = await gateway.completed(client)
    await gateway.publish(*worker.story(1)[:2], worker.progressed(2, ExportStage.CONVERT, 30))
    await gateway.until_job(client, job_id, "running")
    body = {"export_job_id": other["id"], "deployment_type": "platform_endpoint", "name": "x"}
    made = await client.post("/api/v1/deployments", body)
    (wish,) = await gateway.wishes(made["id"])
    await gateway.publish(facts.activated(wish))
    await gateway.until_deployment(client, made["id"], "active")
    await losses.notice(gateway.parts)
    leases = Leases(gateway.parts.bus)
    lease = await leases.take(job_id, "the worker that lost its facts with the bus")
    assert isinstance(lease, Lease)
    await lease.complete()
    package = await leases.take(package_lease(UUID(job_id)), "the packager whose fact is lost too")
    assert isinstance(package, Lease)
    await package.complete()

    for stream in ("EXPORT", "DEPLOYMENT"):
        await gateway.parts.bus.jetstream.delete_stream(stream)
    await gateway.parts.bus.declare()
    again = await gateway.requested(job_id)
    assert again == worker.request
    assert (await client.get(f"/api/v1/export/jobs/{job_id}"))["status"] == "pending"
    for key in (job_id, package_lease(UUID(job_id))):
        assert isinstance(await leases.take(key, "another"), Lease), "the job can be taken again"
    await gateway.publish(*worker.story(1))  # facts of the same ids as before the loss
    await gateway.until_job(client, job_id, "completed")
    restated = (await gateway.wishes(made["id"], 1))[0]
    assert restated == wish
    await gateway.publish(facts.activated(wish))

    async def answered() -> bool | None:
        sql = "SELECT bool_and(observed_generation = generation) FROM deployment_targets"
        return await gateway.parts.pool.fetchval(sql) or None

    await until(answered)
    assert (await client.get(f"/api/v1/deployments/{made['id']}"))["status"] == "active"
