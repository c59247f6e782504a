"""Idempotency-Key on every route that makes something."""

import asyncio
from typing import Any

import pytest

from gateway.testing.outside import Client, Gateway

pytestmark = pytest.mark.integration
JOBS = "/api/v1/export/jobs"


async def send(client: Client, path: str, body: object, key: str) -> Any:
    return await client.send("POST", path, body, {"Idempotency-Key": key})


async def test_the_same_request_has_one_effect_and_one_answer(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    body = {
        "training_job_id": training["id"],
        "export_format": "onnx",
        "export_config": {"batch_size": 1, "opset_version": 17},
    }
    first = await send(client, JOBS, body, "key-1")
    assert first.status_code == 201
    reordered = dict(reversed(body.items())) | {"export_config": {"opset_version": 17, "batch_size": 1}}
    again = await send(client, JOBS, reordered, "key-1")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert len((await client.get(JOBS))["items"]) == 1

    other = await send(client, JOBS, body | {"version_tag": "v2"}, "key-1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert (await send(client, JOBS, body, "key-2")).json()["version"] == 2

    stranger = await gateway.tenant()
    theirs = await gateway.training(stranger)
    made = await send(stranger, JOBS, body | {"training_job_id": theirs["id"]}, "key-1")
    assert made.status_code == 201, "keys of two users have nothing to do with each other"


async def test_a_refusal_is_not_kept(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    training = await gateway.training(client)
    body = {"training_job_id": training["id"], "export_format": "onnx"}
    made = [(await send(client, JOBS, body, f"key-{number}")).json() for number in range(2)]
    assert (await send(client, JOBS, body, "key-3")).status_code == 429
    await client.post(f"{JOBS}/{made[0]['id']}/cancel")
    assert (await send(client, JOBS, body, "key-3")).status_code == 201


async def test_many_at_once_make_one(gateway: Gateway) -> None:
    client = await gateway.tenant("enterprise")
    training = await gateway.training(client)
    body = {"training_job_id": training["id"], "export_format": "onnx"}
    answers = await asyncio.gather(*(send(client, JOBS, body, "same") for _ in range(12)))
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["code"] == "idempotency_in_flight"
            assert answer.headers["retry-after"] == "1"
        else:
            assert answer.status_code == 201
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len((await client.get(JOBS))["items"]) == 1


async def test_a_request_in_flight_is_a_conflict(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    body = {"training_job_id": training["id"], "export_format": "onnx"}
    async with gateway.parts.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT 1 FROM users FOR UPDATE")  # the first request waits for its user's row
        first = asyncio.create_task(send(client, JOBS, body, "slow"))
        while not await gateway.parts.pool.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        ):
            await asyncio.sleep(0.01)
        second = await send(client, JOBS, body, "slow")
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_flight")
    assert (await first).status_code == 201
    assert (await send(client, JOBS, body, "slow")).content == (await first).content


async def test_secrets_are_replayed_too(gateway: Gateway) -> None:
    body = {"name": "Ada", "tier": "pro"}
    first = await send(gateway.admin, "/api/v1/users", body, "make ada")
    again = await send(gateway.admin, "/api/v1/users", body, "make ada")
    assert first.json()["token"] == again.json()["token"]
    assert (await Client(gateway.http, again.json()["token"]).get("/api/v1/users/me"))["name"] == "Ada"


async def test_answers_are_forgotten_after_their_time(gateway: Gateway) -> None:
    body = {"name": "Ada", "tier": "pro"}
    first = await send(gateway.admin, "/api/v1/users", body, "make ada")
    await gateway.parts.pool.execute("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
    again = await send(gateway.admin, "/api/v1/users", body, "make ada")
    assert first.json()["id"] != again.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_a_key_must_be_one(gateway: Gateway, key: str) -> None:
    answer = await send(gateway.admin, "/api/v1/users", {"name": "Ada", "tier": "pro"}, key)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
