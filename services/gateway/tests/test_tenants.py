"""Every route against strangers, unknown ids, missing tokens and tokens without the scope."""

import json
import re
from typing import Any
from uuid import uuid4

import pytest

from contracts import credentials
from gateway.app import describe
from gateway.describe import document
from gateway.testing.outside import Client, Gateway

pytestmark = pytest.mark.integration

BODIES: dict[str, object] = {
    "tag_export_job": {"version_tag": "mine"},
    "update_user": {"tier": "free"},
    "create_token": {"scopes": ["read"]},
    "create_user": {"name": "new", "tier": "free"},
    "create_upload": {"filename": "a.pt", "size_bytes": 1, "sha256": "0" * 64},
    "create_export_job": {"training_job_id": str(uuid4()), "export_format": "onnx"},
    "create_deployment": {"export_job_id": str(uuid4()), "deployment_type": "download", "name": "x"},
    "register_training": {
        "framework": "timm",
        "task_type": "image_classification",
        "model_name": "resnet18",
        "checkpoint_path": "s3://vision-platform/uploads/x/a.pt",
    },
}


def operations() -> list[tuple[str, str, str, str]]:
    """(method, path, operation id, scope) of every route."""
    paths = json.loads(document(describe()))["paths"]
    return [
        (method.upper(), path, operation["operationId"], operation["security"][0]["bearer"][0])
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def filled(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], path)


def comparable(response: Any) -> tuple[int, dict[str, object], dict[str, str]]:
    """All of a problem but what names the request itself."""
    body = {key: value for key, value in response.json().items() if key not in ("instance", "trace_id")}
    headers = {
        key: value for key, value in response.headers.items() if key not in ("x-trace-id", "date", "content-length")
    }
    return response.status_code, body, headers


async def test_a_strangers_id_is_answered_like_an_unknown_one(gateway: Gateway) -> None:
    owner, stranger = await gateway.tenant(), await gateway.tenant()
    job = await gateway.completed(owner)
    deployment = await owner.post(
        "/api/v1/deployments", {"export_job_id": job["id"], "deployment_type": "platform_endpoint", "name": "mine"}
    )
    theirs = {"job_id": job["id"], "training_job_id": job["training_job_id"], "deployment_id": deployment["id"]}
    unknown = {name: str(uuid4()) for name in theirs}
    tried = 0
    for method, path, name, scope in operations():
        if "{" not in path or scope == "admin":
            continue
        seen = await stranger.send(method, filled(path, theirs), BODIES.get(name))
        guessed = await stranger.send(method, filled(path, unknown), BODIES.get(name))
        assert comparable(seen) == comparable(guessed), name
        assert seen.status_code == 404, name
        assert len(seen.content) == len(guessed.content), name
        tried += 1
    assert tried == 18
    for field, path, body in (
        ("training_job_id", "/api/v1/export/jobs", BODIES["create_export_job"]),
        ("export_job_id", "/api/v1/deployments", BODIES["create_deployment"]),
    ):
        assert isinstance(body, dict)
        known = {"training_job_id": job["training_job_id"], "export_job_id": job["id"]}[field]
        seen = await stranger.send("POST", path, body | {field: known})
        guessed = await stranger.send("POST", path, body | {field: str(uuid4())})
        assert comparable(seen) == comparable(guessed)
        assert seen.status_code == 404
    still = await owner.get(f"/api/v1/deployments/{deployment['id']}")
    assert still["status"] in ("pending", "deploying")


async def test_lists_show_only_ones_own(gateway: Gateway) -> None:
    owner, stranger = await gateway.tenant(), await gateway.tenant()
    job = await gateway.completed(owner)
    await owner.post("/api/v1/deployments", {"export_job_id": job["id"], "deployment_type": "download", "name": "mine"})
    for path in ("/api/v1/training", "/api/v1/export/jobs", "/api/v1/deployments"):
        assert len((await owner.get(path))["items"]) == 1
        assert (await stranger.get(path))["items"] == []
        assert (await gateway.admin.get(path))["items"] == []
    filtered = f"/api/v1/export/jobs?training_job_id={job['training_job_id']}"
    assert (await stranger.get(filtered))["items"] == []
    cursor = (await owner.get("/api/v1/export/jobs?limit=1"))["next_cursor"]
    assert cursor is None


async def test_every_route_needs_a_valid_token_with_its_scope(gateway: Gateway) -> None:
    me = await gateway.admin.post("/api/v1/users", {"name": "scoped", "tier": "free"})
    scoped: dict[str, Client] = {}
    for scope in ("read", "write", "admin"):
        token = await gateway.admin.post(f"/api/v1/users/{me['id']}/tokens", {"scopes": [scope], "name": scope})
        scoped[scope] = Client(gateway.http, token["token"])
    strangers = [
        "",
        "junk",
        credentials.mint("mp"),
        credentials.mint("pk"),
        me["token"][:-1] + "!",
        me["token"].upper(),
    ]
    ids = {name: str(uuid4()) for name in ("job_id", "training_job_id", "deployment_id", "user_id", "token_id")}
    for method, path, name, scope in operations():
        for token in strangers:
            answer = await Client(gateway.http, token).send(method, filled(path, ids), {"junk": True})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (name, token)
            assert answer.headers["www-authenticate"] == "Bearer"
        for other, client in scoped.items():
            answer = await client.send(method, filled(path, ids), BODIES.get(name))
            is_refused = answer.status_code == 403
            assert is_refused == (other != scope), (name, other, answer.text)
            if is_refused:
                assert answer.json()["code"] == "forbidden"


async def test_health_and_the_schema_are_open_to_everybody(gateway: Gateway) -> None:
    nobody = Client(gateway.http, "")
    assert (await nobody.get("/healthz"))["status"] == "ok"
    ready = await nobody.get("/readyz")
    assert ready == {"status": "ok", "checks": {"postgres": "ok", "nats": "ok", "s3": "ok"}}
    assert (await nobody.get("/schema/openapi.json"))["info"]["title"] == "Modelport"
    page = await nobody.send("GET", "/schema")
    assert (page.status_code, "<title>Modelport API</title>" in page.text) == (200, True)
