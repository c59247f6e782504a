"""Dead letters tried again: what that does to a job, a deployment, a message, and where it is refused."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from contracts.events import DeploymentRequestedV1, Event, ExportRequestedV1, TrainingCompletedV1
from contracts.subjects import LEASES, dead_letter_subject, export_lease, package_lease, subject
from contracts.vocabulary import ExportStage
from gateway.testing import facts
from gateway.testing.facts import Worker
from gateway.testing.outside import Client, Gateway, until
from servicekit.dead_letters import REASON_CODE, SUBJECT
from servicekit.leases import LeaseRecord

pytestmark = pytest.mark.integration
WORKER = "export-worker-onnx"


async def give_up(gateway: Gateway, event: Event, consumer: str = WORKER, body: bytes | None = None) -> int:
    """What a consumer leaves of a message that it could not handle."""
    headers = {SUBJECT: subject(event), REASON_CODE: "worker_lost", "ce-id": str(uuid4())}
    told = body if body is not None else msgspec.json.encode(event)
    ack = await gateway.parts.bus.jetstream.publish(dead_letter_subject(consumer), told, headers=headers)
    return int(ack.seq)


async def failed(gateway: Gateway, code: str = "worker_lost") -> tuple[Client, str, ExportRequestedV1]:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    request = await gateway.requested(job["id"])
    await gateway.publish(Worker(request).failed(5, code, stage="convert"))
    await gateway.until_job(client, job["id"], "failed")
    return client, job["id"], request


async def replay(gateway: Gateway, sequence: int, key: str | None = None) -> Any:
    return await gateway.admin.post(f"/api/v1/dead-letters/{sequence}/replay", key=key)


async def refused(gateway: Gateway, sequence: int) -> tuple[int, str]:
    return await gateway.admin.refusal("POST", f"/api/v1/dead-letters/{sequence}/replay")


async def listed(gateway: Gateway) -> list[int]:
    return [letter["sequence"] for letter in (await gateway.admin.get("/api/v1/dead-letters"))["items"]]


async def exhausted(gateway: Gateway, key: str) -> None:
    bucket = await gateway.parts.bus.kv(LEASES)
    record = LeaseRecord(attempt=5, worker="w", state="done", heartbeat=0.0, token="t", failures=5)
    await bucket.put(key, msgspec.json.encode(record))


async def test_a_failed_job_is_requested_again_and_can_be_done(gateway: Gateway) -> None:
    client, job_id, request = await failed(gateway)
    leases = [export_lease(request.job_id), package_lease(request.job_id)]
    for key in leases:
        await exhausted(gateway, key)
    sequence = await give_up(gateway, request)
    answer = await replay(gateway, sequence)
    assert (answer["action"], answer["job_id"]) == ("job_requested", job_id)
    assert await listed(gateway) == []
    opened = await client.get(f"/api/v1/export/jobs/{job_id}")
    assert (opened["status"], opened["error"], opened["completed_at"]) == ("pending", None, None)
    bucket = await gateway.parts.bus.kv(LEASES)
    for key in leases:
        record = msgspec.json.decode((await bucket.get(key)).value or b"", type=LeaseRecord)
        assert (record.state, record.attempt, record.failures) == ("released", 5, 0)

    async def requests() -> bool | None:
        return len(await gateway.stated(ExportRequestedV1)) == 2 or None

    await until(requests)
    await gateway.publish(*Worker(request).story(6))
    assert (await gateway.until_job(client, job_id, "completed"))["attempt"] == 6
    names = [record["name"] for record in await gateway.parts.pool.fetch("SELECT name FROM job_events ORDER BY seq")]
    assert "failed" not in names
    assert names.count("requested") == 2


async def test_the_same_key_gets_the_same_answer(gateway: Gateway) -> None:
    _, _, request = await failed(gateway)
    sequence = await give_up(gateway, request)
    assert await replay(gateway, sequence, "once") == await replay(gateway, sequence, "once")
    assert await refused(gateway, sequence) == (404, "not_found")


async def test_what_fails_in_the_packager_is_exported_again(gateway: Gateway) -> None:
    client, job_id, request = await failed(gateway)
    sequence = await give_up(gateway, Worker(request).exported(5), "packager-models")
    assert (await replay(gateway, sequence))["action"] == "job_requested"
    assert (await client.get(f"/api/v1/export/jobs/{job_id}"))["status"] == "pending"


async def test_what_is_not_failed_is_left_alone(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    done = await give_up(gateway, await gateway.requested(job["id"]))
    assert await refused(gateway, done) == (409, "conflict")
    _, _, given_up = await failed(gateway, "deadline_exceeded")
    late = await give_up(gateway, given_up)
    assert await refused(gateway, late) == (409, "conflict")
    unknown = await give_up(gateway, msgspec.structs.replace(given_up, job_id=uuid4()))
    assert await refused(gateway, unknown) == (404, "not_found")
    assert await refused(gateway, 999) == (404, "not_found")
    broken = await give_up(gateway, given_up, body=b"{")
    assert await refused(gateway, broken) == (422, "undecodable_event")
    assert sorted(await listed(gateway)) == [done, late, unknown, broken]


async def test_a_deployment_is_asked_for_again(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    body = {"export_job_id": job["id"], "deployment_type": "platform_endpoint", "name": "x"}
    made = await client.post("/api/v1/deployments", body)
    (wish,) = await gateway.wishes(made["id"])
    await gateway.publish(facts.deployment_failed(wish))
    await gateway.until_deployment(client, made["id"], "failed")
    sequence = await give_up(gateway, wish, "deployer-requests")
    again = await give_up(gateway, wish, "deployer-requests")
    assert (await replay(gateway, sequence))["deployment_id"] == made["id"]
    newest: DeploymentRequestedV1 = (await gateway.wishes(made["id"], 2))[1]
    assert newest.generation == wish.generation + 1
    assert await refused(gateway, again) == (409, "conflict")


async def test_a_training_whose_user_exists_now_is_delivered_again(gateway: Gateway) -> None:
    client, _, request = await failed(gateway)
    event = TrainingCompletedV1(
        training_job_id=uuid4(),
        user_id=request.user_id,
        framework=request.framework,
        task_type=request.task_type,
        model_name=request.model_name,
        checkpoint_path=request.checkpoint_path,
    )
    sequence = await give_up(gateway, event, "gateway-training-jobs-completed-v1")
    assert (await replay(gateway, sequence))["action"] == "message_delivered"

    async def known() -> bool | None:
        found = (await client.get("/api/v1/training"))["items"]
        return any(one["id"] == str(event.training_job_id) for one in found) or None

    await until(known)


async def test_progress_of_the_failed_attempt_does_not_end_the_new_one(gateway: Gateway) -> None:
    client, job_id, request = await failed(gateway)
    await replay(gateway, await give_up(gateway, request))
    worker = Worker(request)
    await gateway.publish(worker.progressed(6, ExportStage.CONVERT, 40), worker.failed(4))
    await gateway.publish(worker.progressed(6, ExportStage.VERIFY, 60))

    async def moved() -> bool | None:
        return (await client.get(f"/api/v1/export/jobs/{job_id}"))["stage"] == "verify" or None

    await until(moved)
    assert (await client.get(f"/api/v1/export/jobs/{job_id}"))["status"] == "running"


async def test_only_administrators_replay(gateway: Gateway) -> None:
    client, _, request = await failed(gateway)
    sequence = await give_up(gateway, request)
    assert await client.refusal("POST", f"/api/v1/dead-letters/{sequence}/replay") == (403, "forbidden")
