"""Deployments over REST against real servers, the deployer played by the tests."""

import re
from uuid import UUID, uuid4

import httpx
import pytest

from contracts import credentials, keys
from contracts.events import DeploymentUpdatedV1
from contracts.vocabulary import DesiredState, ExportStage, Proof, Tier
from gateway.testing import facts
from gateway.testing.facts import Worker
from gateway.testing.outside import Gateway, until

pytestmark = pytest.mark.integration
PATH = "/api/v1/deployments"


def asked(job: dict[str, str], kind: str = "platform_endpoint", **more: object) -> dict[str, object]:
    return {"export_job_id": job["id"], "deployment_type": kind, "name": "shapes live", **more}


async def updates(gateway: Gateway, deployment_id: str, count: int) -> list[DeploymentUpdatedV1]:
    async def find() -> list[DeploymentUpdatedV1] | None:
        found = await gateway.stated(DeploymentUpdatedV1)
        mine = [event for event in found if str(event.deployment_id) == deployment_id]
        return mine if len(mine) >= count else None

    return await until(find)


async def test_the_life_of_an_endpoint(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    made = await client.post(PATH, asked(job, description="for tests", config={"max_batch_size": 4}))
    assert made["status"] == "pending"
    assert credentials.is_well_formed(made["api_key"], "pk")
    assert made["key_prefix"] == made["api_key"][:8]
    assert made["endpoint_url"] == f"https://proxy.example.org/v1/infer/{made['id']}"
    assert made["deployment_config"]["max_batch_size"] == 4
    assert made["deployment_config"]["inference_framework"] == "triton"
    path = f"{PATH}/{made['id']}"

    (wish,) = await gateway.wishes(made["id"])
    pepper = gateway.parts.settings.key_pepper
    assert wish.access.key_digests == (credentials.digest(made["api_key"], pepper),)
    assert (wish.generation, wish.desired, wish.access.tier) == (1, DesiredState.ACTIVE, Tier.PRO)
    assert wish.model.key == keys.export_file(UUID(job["id"]), "model.onnx")
    await gateway.until_deployment(client, made["id"], "deploying")
    await gateway.publish(facts.activated(wish), facts.activated(wish))
    active = await gateway.until_deployment(client, made["id"], "active")
    assert active["api_key"] is None
    assert active["deployed_at"] is not None

    off = await client.post(f"{path}/deactivate")
    assert (off["status"], off["deactivated_at"] is not None) == ("inactive", True)
    assert await client.refusal("POST", f"{path}/deactivate") == (409, "conflict")
    early, told = await updates(gateway, made["id"], 2)
    assert (early.serving, early.revision, early.access) == (True, 1, wish.access), "known before its model answers"
    assert (told.serving, told.revision) == (False, 2)
    second = (await gateway.wishes(made["id"], 2))[1]
    assert (second.generation, second.desired) == (2, DesiredState.INACTIVE)
    await gateway.publish(facts.activated(wish), facts.deactivated(second))

    on = await client.post(f"{path}/reactivate")
    assert on["status"] == "deploying"
    third = (await gateway.wishes(made["id"], 3))[2]
    assert (third.generation, third.desired) == (3, DesiredState.ACTIVE)
    assert (await updates(gateway, made["id"], 3))[2].serving is True
    await gateway.publish(facts.activated(third))
    await gateway.until_deployment(client, made["id"], "active")

    history = (await client.get(f"{path}/history"))["items"]
    assert [(line["event_type"], line["status_before"], line["status_after"]) for line in history] == [
        ("deployed", "deploying", "active"),
        ("deactivated", "active", "inactive"),
        ("reactivated", "inactive", "deploying"),
        ("deployed", "deploying", "active"),
    ]
    me = await client.get("/api/v1/users/me")
    assert [line["created_by_user_id"] for line in history] == [None, me["id"], me["id"], None]

    assert (await client.send("DELETE", path)).status_code == 204
    for route in ("", "/history", "/usage", "/download"):
        assert await client.refusal("GET", path + route) == (404, "not_found")
    assert await client.refusal("DELETE", path) == (404, "not_found")
    assert (await client.get(PATH))["items"] == []
    last = (await gateway.wishes(made["id"], 4))[3]
    assert (last.generation, last.desired) == (4, DesiredState.DELETED)
    assert (await updates(gateway, made["id"], 4))[3].serving is False


async def test_a_failed_endpoint_tells_why_and_can_be_tried_again(gateway: Gateway) -> None:
    client = await gateway.tenant()
    made = await client.post(PATH, asked(await gateway.completed(client)))
    (wish,) = await gateway.wishes(made["id"])
    await gateway.publish(facts.deployment_failed(wish))
    failed = await gateway.until_deployment(client, made["id"], "failed")
    assert failed["error"]["code"] == "deployment_failed"
    history = (await client.get(f"{PATH}/{made['id']}/history"))["items"]
    assert history[-1]["event_type"] == "failed"
    assert "cannot read the model" in history[-1]["event_data"]["error"]["message"]
    again = await client.post(f"{PATH}/{made['id']}/reactivate")
    assert (again["status"], again["error"]) == ("deploying", None)


async def test_rotating_a_key_replaces_it_everywhere_at_once(gateway: Gateway) -> None:
    client = await gateway.tenant()
    made = await client.post(PATH, asked(await gateway.completed(client)))
    rotated = await client.post(f"{PATH}/{made['id']}/rotate-key")
    assert rotated["api_key"] != made["api_key"]
    assert rotated["key_prefix"] == rotated["api_key"][:8]
    _, told = await updates(gateway, made["id"], 2)
    assert told.access.key_digests == (credentials.digest(rotated["api_key"], gateway.parts.settings.key_pepper),)
    assert (told.serving, told.revision, told.generation) == (True, 2, 1)


async def test_no_secret_is_stored_or_published_in_clear(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    made = await client.post(PATH, asked(job), key="one and the same")
    again = await client.post(PATH, asked(job), key="one and the same")
    assert again == made
    secrets = {made["api_key"], client.token, (await client.post(f"{PATH}/{made['id']}/rotate-key"))["api_key"]}
    tables = await gateway.parts.pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    dumps = [await gateway.parts.pool.fetch(f"SELECT t::text FROM {record['tablename']} t") for record in tables]
    stored = str(dumps)
    await updates(gateway, made["id"], 2)
    published = b"".join(await gateway.messages("deployment.>")).decode()
    for secret in secrets:
        assert secret not in stored
        assert secret.encode().hex() not in stored
        assert secret not in published


async def test_a_change_of_tier_reaches_every_endpoint(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    made = await client.post(PATH, asked(await gateway.completed(client)))
    me = await client.get("/api/v1/users/me")
    changed = await gateway.admin.send("PATCH", f"/api/v1/users/{me['id']}", {"tier": "enterprise"})
    assert changed.json()["tier"] == "enterprise"
    _, told = await updates(gateway, made["id"], 2)
    assert (told.access.tier, told.serving) == (Tier.ENTERPRISE, True)


async def test_a_download_is_active_at_once_and_its_link_opens(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    package = keys.export_file(UUID(job["id"]), keys.PACKAGE)
    await gateway.parts.objects.put_bytes(package, b"a package")
    made = await client.post(PATH, asked(job, "download"))
    assert (made["status"], made["api_key"], made["endpoint_url"]) == ("active", None, None)
    link = await client.get(f"{PATH}/{made['id']}/download")
    assert re.fullmatch(r"shapes-v1-export-package\.zip", link["filename"])
    async with httpx.AsyncClient() as plain:
        for url in (link["download_url"], made["deployment_config"]["download_url"]):
            fetched = await plain.get(url)
            assert (fetched.status_code, fetched.content) == (200, b"a package")
            assert "shapes-v1" in fetched.headers["content-disposition"]
        assert (await plain.get(link["download_url"].replace("export-package", "metadata"))).status_code == 403
    await client.post(f"{PATH}/{made['id']}/deactivate")
    assert await client.refusal("GET", f"{PATH}/{made['id']}/download") == (409, "conflict")
    assert (await client.post(f"{PATH}/{made['id']}/reactivate"))["status"] == "active"
    assert await client.refusal("POST", f"{PATH}/{made['id']}/rotate-key") == (409, "conflict")
    assert await gateway.messages("deployment.>") == []


async def test_only_completed_and_proven_exports_are_served(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    job = await gateway.export(client, training["id"])
    refused = await client.send("POST", PATH, asked(job))
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "completed" in refused.json()["hint"]
    built = Worker(await gateway.requested(job["id"]), proof=Proof.BUILT)
    await gateway.publish(built.progressed(1, ExportStage.VERIFY, 70), built.built(1))
    await gateway.until_job(client, job["id"], "completed")
    refused = await client.send("POST", PATH, asked(job))
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "verified" in refused.json()["detail"]
    assert (await client.post(PATH, asked(job, "download")))["status"] == "active"
    assert await client.refusal("POST", PATH, asked(job, config={"gpu_enabled": True})) == (422, "unsupported")
    assert await client.refusal("POST", PATH, asked(job, config={"replicas": 2})) == (400, "invalid_request")
    assert await client.refusal("POST", PATH, asked({"id": str(uuid4())})) == (404, "not_found")


async def test_use_is_counted_once_per_fact_for_the_owner_alone(gateway: Gateway) -> None:
    client = await gateway.tenant()
    made = await client.post(PATH, asked(await gateway.completed(client)))
    target, owner = UUID(made["id"]), UUID(made["user_id"])
    record, other = facts.used(target, owner, 5, 40.5), facts.used(target, owner, 2, 1.5)
    await gateway.publish(record, record, facts.used(target, uuid4(), 100, 9.0), other)

    async def counted() -> object:
        found = await client.get(f"{PATH}/{made['id']}/usage")
        return found if found["request_count"] >= 7 else None

    usage = await until(counted)
    assert isinstance(usage, dict)
    assert (usage["request_count"], usage["error_count"], usage["total_inference_time_ms"]) == (7, 2, 42.0)
    assert usage["last_request_at"] is not None
    assert (await client.get(f"{PATH}/{made['id']}"))["request_count"] == 7


async def test_a_tier_serves_only_so_many_models_at_a_time(gateway: Gateway) -> None:
    """Each instance is a process in the memory that all tenants share."""
    client = await gateway.tenant(Tier.FREE)
    job = await gateway.completed(client)
    one = await client.post(PATH, asked(job))
    two = await client.post(PATH, asked(job))
    assert await client.refusal("POST", PATH, asked(job)) == (429, "deployment_limit_reached")
    assert (await client.post(PATH, asked(job, "download")))["status"] == "active"
    await client.post(f"{PATH}/{one['id']}/deactivate")
    body = asked(job, config={"instances": 2})
    assert await client.refusal("POST", PATH, body) == (429, "deployment_limit_reached")
    three = await client.post(PATH, asked(job))
    assert await client.refusal("POST", f"{PATH}/{one['id']}/reactivate") == (429, "deployment_limit_reached")
    await client.send("DELETE", f"{PATH}/{two['id']}")
    await client.post(f"{PATH}/{one['id']}/reactivate")
    assert await gateway.wishes(three["id"])
