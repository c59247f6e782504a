"""Edge and container packages over REST against real servers, the packager played by the tests."""

import asyncio
import json
import re
from uuid import UUID, uuid4

import httpx
import pytest

from contracts import keys
from contracts.events import DeploymentRequestedV1, DeploymentUpdatedV1
from contracts.subjects import deployment_lease
from contracts.vocabulary import DeploymentStage, DeploymentType, DesiredState, Tier
from gateway import losses
from gateway.testing import facts
from gateway.testing.outside import Client, Gateway, until
from servicekit.leases import Lease, Leases

pytestmark = pytest.mark.integration
PATH = "/api/v1/deployments"
CONFIGS = {"edge_package": {"target_platform": "ios"}, "container": {"image_name": "shapes/detector"}}
URLS = {"edge_package": "package_url", "container": "dockerfile_url"}


def asked(job: dict[str, str], kind: str, **config: object) -> dict[str, object]:
    config = config or CONFIGS[kind]
    return {"export_job_id": job["id"], "deployment_type": kind, "name": "for the field", "config": config}


async def followed(
    client: Client, path: str, heard: asyncio.Event | None = None
) -> list[tuple[str, dict[str, object]]]:
    """Names and data of the events of a stream until it ends; `heard` is set at the first."""
    headers = {"Authorization": f"Bearer {client.token}"}
    found, name = [], ""
    async with client.http.stream("GET", path, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                if heard is not None:
                    heard.set()
    return found


@pytest.mark.parametrize("kind", ["edge_package", "container"])
async def test_the_life_of_a_package(gateway: Gateway, kind: str) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    made = await client.post(PATH, asked(job, kind), key="once")
    assert await client.post(PATH, asked(job, kind), key="once") == made
    assert (made["status"], made["api_key"], made["endpoint_url"]) == ("pending", None, None)
    path = f"{PATH}/{made['id']}"
    refused = await client.send("GET", f"{path}/download")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "about to be built" in refused.json()["hint"] or "being built" in refused.json()["hint"]

    (wish,) = await gateway.wishes(made["id"])
    assert (wish.generation, wish.desired, str(wish.deployment_type)) == (1, DesiredState.ACTIVE, kind)
    assert (await gateway.until_deployment(client, made["id"], "deploying"))["deployment_config"].keys() == {
        *made["deployment_config"]
    }
    key = keys.deployed_package(DeploymentType(kind), UUID(made["id"]))
    await gateway.parts.objects.put_bytes(key, b"a package")
    await gateway.publish(facts.progressed(wish, DeploymentStage.BUILD, 40))
    following = asyncio.create_task(followed(client, f"{path}/events"))
    await gateway.publish(facts.packaged(wish), facts.packaged(wish))
    told = await following
    assert [name for name, _ in told][-1] == "active"
    assert told[-1][1]["progress_percent"] == 100
    active = await gateway.until_deployment(client, made["id"], "active")
    assert active["deployment_config"][URLS[kind]].endswith(f"/{key}")
    link = await client.get(f"{path}/download")
    assert link["sha256"] == facts.SHA
    expected = (
        rf"vision-ai-mobile-package-{job['id']}\.zip" if kind == "edge_package" else r"shapes-v1-container-package\.zip"
    )
    assert re.fullmatch(expected, link["filename"])
    async with httpx.AsyncClient() as plain:
        for url in (link["download_url"], active["deployment_config"]["download_url"]):
            fetched = await plain.get(url)
            assert (fetched.status_code, fetched.content) == (200, b"a package")
            assert link["filename"] in fetched.headers["content-disposition"]

    off = await client.post(f"{path}/deactivate")
    assert (off["status"], "download_url" in off["deployment_config"]) == ("inactive", False)
    assert await client.refusal("GET", f"{path}/download") == (409, "conflict")
    assert (await gateway.wishes(made["id"], 2))[1].desired is DesiredState.INACTIVE
    assert (await client.post(f"{path}/reactivate"))["status"] == "deploying"
    third = (await gateway.wishes(made["id"], 3))[2]
    await gateway.publish(facts.packaged(wish))  # an answer to what is not asked any more
    await gateway.publish(facts.packaged(third))
    await gateway.until_deployment(client, made["id"], "active")
    assert await client.refusal("POST", f"{path}/rotate-key") == (409, "conflict")
    history = (await client.get(f"{path}/history"))["items"]
    assert [line["event_type"] for line in history] == ["deployed", "deactivated", "reactivated", "deployed"]
    assert history[0]["event_data"]["package"]["key"] == key

    assert (await client.send("DELETE", path)).status_code == 204
    assert await client.refusal("GET", f"{path}/download") == (404, "not_found")
    assert (await gateway.wishes(made["id"], 4))[3].desired is DesiredState.DELETED
    assert await gateway.stated(DeploymentUpdatedV1) == [], "packages concern no proxy"


async def test_progress_is_followed_from_anywhere(gateway: Gateway) -> None:
    client, stranger = await gateway.tenant(), await gateway.tenant()
    made = await client.post(PATH, asked(await gateway.completed(client), "edge_package"))
    path = f"{PATH}/{made['id']}"
    assert await stranger.refusal("GET", f"{path}/events") == (404, "not_found")
    (wish,) = await gateway.wishes(made["id"])
    await gateway.publish(facts.progressed(wish, DeploymentStage.BUILD, 40))

    async def building() -> bool:
        found = await client.get(path)
        return (found["status"], found["stage"], found["progress_percent"]) == ("deploying", "build", 40.0)

    await until(building)
    heard = asyncio.Event()
    following = asyncio.create_task(followed(client, f"{path}/events", heard))
    await heard.wait()
    await gateway.publish(facts.progressed(wish, DeploymentStage.UPLOAD, 70), facts.deployment_failed(wish))
    told = await following
    assert (told[0][0], told[0][1]["message"]) == ("deploying", "doing build")
    assert (told[-1][0], told[-1][1]["error"]["code"]) == ("failed", "deployment_failed")
    assert [name for name, _ in await followed(client, f"{path}/events")] == ["failed"], "what is over is told once"


async def test_a_package_that_failed_tells_why_and_can_be_tried_again(gateway: Gateway) -> None:
    client = await gateway.tenant()
    made = await client.post(PATH, asked(await gateway.completed(client), "edge_package"))
    (wish,) = await gateway.wishes(made["id"])
    await gateway.publish(facts.deployment_failed(wish))
    failed = await gateway.until_deployment(client, made["id"], "failed")
    assert failed["error"]["code"] == "deployment_failed"
    refused = (await client.send("GET", f"{PATH}/{made['id']}/download")).json()
    assert (refused["code"], "error" in refused["hint"]) == ("conflict", True)
    again = await client.post(f"{PATH}/{made['id']}/reactivate")
    assert (again["status"], again["error"]) == ("deploying", None)


REFUSED = (
    ("edge_package", {}, "config.target_platform"),
    ("edge_package", {"target_platform": "toaster"}, "config.target_platform"),
    ("edge_package", {"target_platform": "../ios"}, "config.target_platform"),
    ("edge_package", {"target_platform": "ios", "image_name": "x"}, "config.image_name"),
    ("container", {"image_name": "a; rm -rf /"}, "config.image_name"),
    ("container", {"image_name": "a\nRUN curl evil"}, "config.image_name"),
    ("container", {"image_name": "ok\n"}, "config.image_name"),
    ("container", {"image_name": "$(id)"}, "config.image_name"),
    ("container", {"image_tag": "latest`id`"}, "config.image_tag"),
    ("container", {"image_tag": "-v"}, "config.image_tag"),
    ("container", {"base_image": "scratch\nRUN id"}, "config.base_image"),
    ("container", {"base_image": "--platform=evil"}, "config.base_image"),
    ("container", {"registry": "reg.example.org/$USER"}, "config.registry"),
    ("container", {"registry": "reg:99999999"}, "config.registry"),
)
"""Odd configurations, names with a shell's or a Dockerfile's metacharacters among them, and the field at fault."""


async def test_what_no_package_can_be_is_refused_by_field(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    for kind, config, field in REFUSED:
        refused = (await client.send("POST", PATH, {**asked(job, kind), "config": config})).json()
        assert (refused["code"], refused["errors"][0]["field"]) == ("invalid_request", field), config
        assert "regex" not in refused["detail"], "people do not read patterns"
    assert await gateway.messages("deployment.>") == []


async def test_refusals_of_bodies_and_of_exports_that_ended_tell_what_works(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.completed(client)
    body = asked(job, "edge_package")
    for wrong, told in (
        (
            body | {"deployment_type": "edge"},
            "deployment_type: cannot be 'edge'; what works: download, platform_endpoint",
        ),
        (body | {"target_platform": "ios"}, "target_platform: is not an option here; what works: export_job_id, "),
        ({"export_job_id": job["id"]}, "deployment_type: is missing; what works: download, platform_endpoint"),
    ):
        refused = (await client.send("POST", PATH, wrong)).json()
        assert refused["detail"].startswith(told)
    ended = await gateway.export(client, (await gateway.training(client))["id"])
    await client.post(f"/api/v1/export/jobs/{ended['id']}/cancel")
    refused = (await client.send("POST", PATH, asked(ended, "edge_package"))).json()
    assert (refused["code"], refused["hint"].startswith("Export the model again")) == ("conflict", True)


async def test_a_stranger_s_export_is_not_found(gateway: Gateway) -> None:
    owner, stranger = await gateway.tenant(), await gateway.tenant()
    job = await gateway.completed(owner)
    made = await owner.post(PATH, asked(job, "edge_package"))
    for kind in CONFIGS:
        assert await stranger.refusal("POST", PATH, asked(job, kind)) == (404, "not_found")
        assert await stranger.refusal("POST", PATH, asked({"id": str(uuid4())}, kind)) == (404, "not_found")
    for method, way in (("GET", ""), ("GET", "/download"), ("POST", "/reactivate"), ("DELETE", "")):
        assert await stranger.refusal(method, f"{PATH}/{made['id']}{way}") == (404, "not_found")


async def test_a_tier_builds_and_keeps_only_so_many_packages(gateway: Gateway) -> None:
    client = await gateway.tenant(Tier.FREE)
    job = await gateway.completed(client)
    made = [await client.post(PATH, asked(job, kind)) for kind in CONFIGS]
    refused = (await client.send("POST", PATH, asked(job, "edge_package"))).json()
    assert (refused["code"], "at a time" in refused["detail"]) == ("deployment_limit_reached", True)
    assert await client.post(PATH, {**asked(job, "edge_package"), "deployment_type": "download", "config": None})
    for one in made:
        (wish,) = await gateway.wishes(one["id"])
        await gateway.publish(facts.packaged(wish))
        await gateway.until_deployment(client, one["id"], "active")
    await gateway.parts.pool.execute(
        "INSERT INTO deployment_targets SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid()))).* "
        "FROM deployment_targets t, generate_series(1, 18) WHERE t.id = $1",
        UUID(made[0]["id"]),
    )
    refused = (await client.send("POST", PATH, asked(job, "container"))).json()
    assert (refused["code"], "allows 20" in refused["detail"]) == ("deployment_limit_reached", True)
    assert "Delete" in refused["hint"]
    assert (await client.post(f"{PATH}/{made[0]['id']}/deactivate"))["status"] == "inactive"
    assert (await client.post(f"{PATH}/{made[0]['id']}/reactivate"))["status"] == "deploying"


async def test_capabilities_tell_how_a_format_can_be_deployed(gateway: Gateway) -> None:
    client = await gateway.tenant()
    formats = (await client.get("/api/v1/export/capabilities?framework=ultralytics"))["formats"]
    assert set(formats["onnx"]["deployments"]) == {"download", "platform_endpoint", "edge_package", "container"}
    assert formats["coreml"]["platforms"] == ["ios"]
    assert "container" not in formats["openvino"]["deployments"]


async def test_a_packager_that_does_not_answer_is_asked_again_and_named(gateway: Gateway) -> None:
    client = await gateway.tenant()
    made = await client.post(PATH, asked(await gateway.completed(client), "container"))
    (wish,) = await gateway.wishes(made["id"])
    sql = "UPDATE deployment_targets SET requested_at = now() - interval '61 s', asked_at = now() - interval '1801 s'"
    await gateway.parts.pool.execute(sql)
    assert (await gateway.wishes(made["id"], 2))[1] == wish
    failed = await gateway.until_deployment(client, made["id"], "failed")
    assert failed["error"]["stage"] == "package"
    assert "packager" in failed["error"]["message"]
    await gateway.publish(facts.packaged(wish))
    assert (await gateway.until_deployment(client, made["id"], "active"))["error"] is None


async def test_a_bus_that_lost_its_deployments_builds_what_is_not_built(gateway: Gateway) -> None:
    """An answer that was lost with the stream is given again; a package that is there is not built anew."""
    client = await gateway.tenant()
    job = await gateway.completed(client)
    built, lost = [await client.post(PATH, asked(job, kind)) for kind in CONFIGS]
    await gateway.publish(facts.packaged((await gateway.wishes(built["id"]))[0]))
    await gateway.until_deployment(client, built["id"], "active")
    (wish,) = await gateway.wishes(lost["id"])
    await losses.notice(gateway.parts)
    leases, key = Leases(gateway.parts.bus), deployment_lease(wish.deployment_id, wish.generation)
    lease = await leases.take(key, "the packager whose fact is lost")
    assert isinstance(lease, Lease)
    await lease.complete()
    await gateway.parts.bus.jetstream.delete_stream("DEPLOYMENT")
    await gateway.parts.bus.declare()
    assert (await gateway.wishes(lost["id"]))[0] == wish
    assert isinstance(await leases.take(key, "another"), Lease)
    stated = await gateway.stated(DeploymentRequestedV1)
    assert {str(one.deployment_id) for one in stated} == {lost["id"]}
