"""Tenants inside one process: what is asked of the database does not depend on whose id it is."""

import re
from collections import defaultdict
from uuid import uuid4

import asyncpg
import pytest
from opentelemetry import trace

from contracts import credentials
from gateway.app import ROUTES
from gateway.testing.outside import Client, Gateway

pytestmark = pytest.mark.integration

PATHS = sorted({(method, path) for route in ROUTES for path in route.paths for method in route.http_methods})
OWN = [(method, path) for method, path in PATHS if "_id:uuid}" in path and "/users" not in path and method != "PATCH"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> defaultdict[str, list[str]]:
    """Statements by the trace of the request that sent them, which keeps background work apart."""
    seen: defaultdict[str, list[str]] = defaultdict(list)
    original = asyncpg.Connection._execute

    async def execute(self: object, query: str, *args: object, **options: object) -> object:
        seen[f"{trace.get_current_span().get_span_context().trace_id:032x}"].append(query)
        return await original(self, query, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "_execute", execute)
    return seen


async def test_a_strangers_id_costs_the_same_look_ups_as_a_guess(
    gateway: Gateway, asked: defaultdict[str, list[str]]
) -> None:
    owner, stranger = await gateway.tenant(), await gateway.tenant()
    job = await gateway.completed(owner)
    body = {"export_job_id": job["id"], "deployment_type": "platform_endpoint", "name": "mine"}
    deployment = await owner.post("/api/v1/deployments", body)
    asked_for = await owner.post("/api/v1/export/preflight", {"training_job_id": job["training_job_id"]})
    real = {
        "job_id": job["id"],
        "training_job_id": job["training_job_id"],
        "deployment_id": deployment["id"],
        "preflight_id": asked_for["preflight_id"],
    }
    for method, path in OWN:
        answers = []
        for ids in (real, {name: str(uuid4()) for name in real}):
            filled = re.sub(r"\{(\w+):uuid\}", lambda match, ids=ids: ids[match[1]], path)
            answers.append(await stranger.send(method, filled))
        theirs, guessed = (asked[answer.headers["x-trace-id"]] for answer in answers)
        assert [answer.status_code for answer in answers] == [404, 404], path
        assert theirs, path
        assert theirs == guessed, path


async def test_a_typing_error_is_refused_without_a_look_up(
    gateway: Gateway, asked: defaultdict[str, list[str]]
) -> None:
    good = (await gateway.tenant()).token
    for token, looks_up in ((good[:-1] + "!", False), (good.swapcase(), False), (credentials.mint("mp"), True)):
        asked.clear()
        assert (await Client(gateway.http, token).send("GET", "/api/v1/users/me")).status_code == 401
        assert any("digest" in query for queries in asked.values() for query in queries) is looks_up


async def test_an_expired_token_opens_nothing(gateway: Gateway) -> None:
    me = await gateway.admin.post("/api/v1/users", {"name": "guest", "tier": "free"})
    tokens = f"/api/v1/users/{me['id']}/tokens"
    made = await gateway.admin.post(tokens, {"expires_in_s": 3600})
    assert made["expires_at"] > made["created_at"]
    guest = Client(gateway.http, made["token"])
    assert (await guest.get("/api/v1/users/me"))["id"] == me["id"]
    await gateway.parts.pool.execute("UPDATE tokens SET expires_at = now() WHERE id = $1", made["id"])
    assert await guest.refusal("GET", "/api/v1/users/me") == (401, "unauthenticated")
    for wrong in (0, -1, 10**9, "1"):
        assert await gateway.admin.refusal("POST", tokens, {"expires_in_s": wrong}) == (400, "invalid_request")


async def test_health_and_the_schema_are_open_to_everybody(gateway: Gateway) -> None:
    nobody = Client(gateway.http, "")
    assert (await nobody.get("/healthz"))["status"] == "ok"
    ready = await nobody.get("/readyz")
    assert ready == {"status": "ok", "checks": {"postgres": "ok", "nats": "ok", "s3": "ok"}}
    assert (await nobody.get("/schema/openapi.json"))["info"]["title"] == "Modelport"
    page = await nobody.send("GET", "/schema")
    assert (page.status_code, "<title>Modelport API</title>" in page.text) == (200, True)
