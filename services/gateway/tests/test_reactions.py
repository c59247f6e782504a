"""Facts in any order and any number have their effect once."""

import random
from uuid import uuid4

import msgspec
import pytest

from contracts.vocabulary import ExportStage
from gateway.testing.facts import Worker
from gateway.testing.outside import Gateway, until

pytestmark = pytest.mark.integration


async def settled(gateway: Gateway, handled: int) -> None:
    """Every one of so many different facts has gone through an inbox."""

    async def all_handled() -> bool | None:
        return await gateway.parts.pool.fetchval("SELECT count(*) FROM inbox") >= handled or None

    await until(all_handled)


@pytest.mark.parametrize("seed", range(3))
async def test_duplicated_and_reordered_facts_end_in_one_state(gateway: Gateway, seed: int) -> None:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    worker = Worker(await gateway.requested(job["id"]))
    paused = [worker.progressed(1, ExportStage.VERIFY, 80), worker.failed(1)]
    facts = [*worker.story(2), *paused]
    shuffled = facts * 3
    random.Random(seed).shuffle(shuffled)
    await gateway.publish(worker.progressed(2, ExportStage.FETCH, 1))
    await gateway.until_job(client, job["id"], "running")
    for fact in shuffled:
        body = msgspec.json.encode(fact)
        # published as a foreign service might: without the message id by which the server itself would drop repetitions
        identity = f"{type(fact).__name__}-{hash(body)}"
        subject = str(type(fact).__struct_config__.tag)
        await gateway.parts.bus.jetstream.publish(subject, body, stream="EXPORT", headers={"ce-id": identity})
    await settled(gateway, len(facts) + 1)
    done = await gateway.until_job(client, job["id"], "completed")
    assert (done["attempt"], done["progress_percent"], done["proof"]) == (2, 100, "verified")
    names = [record["name"] for record in await gateway.parts.pool.fetch("SELECT name FROM job_events ORDER BY seq")]
    assert names.count("completed") == 1
    assert names.count("failed") == 0
    assert names[-1] == "completed"


async def test_facts_about_unknown_things_are_passed_by(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    request = await gateway.requested(job["id"])
    unknown = Worker(msgspec.structs.replace(request, job_id=uuid4()))
    await gateway.publish(*unknown.story(), *Worker(request).story())
    await gateway.until_job(client, job["id"], "completed")
    assert await gateway.messages("deadletter.>") == []


async def test_a_body_that_is_no_event_is_kept_with_its_reason(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    subject = "export.jobs.progressed.v1"
    await gateway.parts.bus.jetstream.publish(subject, b'{"type": "export.jobs.progressed.v1"}', stream="EXPORT")
    await gateway.publish(*Worker(await gateway.requested(job["id"])).story())
    await gateway.until_job(client, job["id"], "completed")

    async def dead() -> list[bytes] | None:
        return await gateway.messages("deadletter.>") or None

    (letter,) = await until(dead)
    assert letter == b'{"type": "export.jobs.progressed.v1"}'
