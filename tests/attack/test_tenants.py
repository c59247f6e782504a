"""Every route against everybody who must not use it: a stranger's things look exactly like things that never were."""

import re
from collections.abc import Iterator
from random import randrange
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts import credentials
from contracts.vocabulary import Scope
from gateway.app import describe
from tests.attack import matrix
from tests.attack.matrix import Route

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(600)]

OF_THE_MOMENT = ("date", "x-trace-id", "ratelimit", "ratelimit-policy")
"""Headers that speak of the time or the asker, never of what was asked for."""


def said(answer: httpx.Response, ids: dict[str, str]) -> tuple[int, str, dict[str, str]]:
    """The answer, byte by byte, less the ids that the asker wrote himself and the id of the trace."""
    body = answer.text.replace(answer.json().get("trace_id") or "no trace", "TRACE")
    for name, value in ids.items():
        body = body.replace(value, name)
    headers = {name: value for name, value in answer.headers.items() if name not in OF_THE_MOMENT}
    return answer.status_code, body, headers


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def guessed() -> dict[str, str]:
    names = ("training_job_id", "job_id", "deployment_id", "preflight_id", "user_id", "token_id")
    return {name: str(uuid4()) for name in names} | {"sequence": str(randrange(10**15, 9 * 10**15))}


def served_paths() -> Iterator[tuple[str, str]]:
    """(method, path) of everything that the gateway's router knows, in the spelling of the document."""
    for route in describe().routes:
        for method in getattr(route, "methods", ()):
            if method != "OPTIONS":
                yield method, re.sub(r":(uuid|int)(?=})", "", route.path).rstrip("/") or "/"


def test_the_matrix_knows_every_route_and_there_is_no_other() -> None:
    documented = {(route.method, route.path) for route in matrix.routes()}
    assert {route.operation for route in matrix.routes()} == matrix.known(), "a route without a row in matrix.py"
    hidden = {pair for pair in served_paths() if pair not in documented and pair[0] != "HEAD"}
    assert hidden == {("GET", path) for path in matrix.OPEN_PATHS}, "a route that docs/openapi.json does not tell"


def test_a_strangers_id_is_answered_like_a_guess(gateway, victim, thief, figure) -> None:
    tried, told = 0, []
    before = victim.person.client.exports.get(victim.job.id), victim.person.client.deployments.get(victim.endpoint.id)
    for operation, body in matrix.OF_ONE_THING.items():
        route, guess = matrix.route(operation), guessed()
        theirs = gateway.request(route.method, route.at(victim.ids), json=body, headers=bearer(thief.token))
        nobody = gateway.request(route.method, route.at(guess), json=body, headers=bearer(thief.token))
        tried += 1
        if said(theirs, victim.ids) != said(nobody, guess) or theirs.status_code != 404:
            told.append((operation, theirs.status_code, theirs.text, nobody.text))
    figure("routes that tell another tenant's id from a guessed one", trials=tried, measured=len(told), promised=0)
    assert not told
    after = victim.person.client.exports.get(victim.job.id), victim.person.client.deployments.get(victim.endpoint.id)
    assert after == before


def test_nothing_can_be_made_from_what_others_have(gateway, victim, thief) -> None:
    foreign = {
        "training_job_id": str(victim.training.id),
        "export_job_id": str(victim.job.id),
        "checkpoint_path": victim.training.checkpoint_path,
    }
    for operation, (field, rest) in matrix.MAKERS.items():
        path, guess = matrix.route(operation).path, str(uuid4())
        unknown = foreign[field].replace(victim.ids["user_id"], guess) if field == "checkpoint_path" else guess
        theirs = gateway.post(path, json=rest | {field: foreign[field]}, headers=bearer(thief.token))
        nobody = gateway.post(path, json=rest | {field: unknown}, headers=bearer(thief.token))
        assert said(theirs, {}) == said(nobody, {}), operation
        assert theirs.status_code in (400, 404), operation


def test_lists_and_filters_show_ones_own_alone(gateway, victim, thief) -> None:
    filters = {
        "list_trainings": "",
        "list_export_jobs": f"?training_job_id={victim.training.id}",
        "list_deployments": f"?export_job_id={victim.job.id}",
    }
    cursor = next(iter(gateway.get("/api/v1/export/jobs?limit=1", headers=bearer(thief.token)).json().values()))
    assert cursor == []
    for operation in matrix.LISTS:
        path = matrix.route(operation).path
        for query in ("", filters[operation]):
            answer = gateway.get(path + query, headers=bearer(thief.token))
            assert (answer.status_code, answer.json()["items"]) == (200, []), operation


def test_no_route_opens_without_a_valid_token(gateway, victim, dead_tokens, figure) -> None:
    opened, answers, tried = [], set(), 0
    bad = dead_tokens | {"the key of an endpoint": f"Bearer {victim.api_key}"}
    for route in matrix.routes():
        for ids in (victim.ids, guessed()):
            for wrong, header in bad.items():
                headers = {"Authorization": header} if header else {}
                answer = gateway.request(
                    route.method, route.at(ids), json=matrix.body_of(route.operation), headers=headers
                )
                status, body, others = said(answer, ids)
                answers.add(body.replace(route.path.replace("{", "").replace("}", ""), "PATH"))
                tried += 1
                if status != 401 or others["www-authenticate"] != "Bearer":
                    opened.append((route.operation, wrong, answer.text))
    for route in matrix.routes():
        answer = gateway.request(route.method, route.at(victim.ids) + f"?access_token={victim.api_key}")
        assert answer.status_code == 401
    figure("requests without a valid token that were served", trials=tried, measured=len(opened), promised=0)
    assert not opened
    assert len(answers) == 1, "every refusal reads alike"


def test_every_route_needs_its_scope(gateway, victim, scoped, figure) -> None:
    passed, tried = [], 0
    for route in matrix.routes():
        for scope, token in scoped.items():
            if scope == route.scope:
                continue
            ids, body = guessed(), matrix.body_of(route.operation)
            theirs = gateway.request(route.method, route.at(victim.ids), json=body, headers=bearer(token))
            nobody = gateway.request(route.method, route.at(ids), json=body, headers=bearer(token))
            tried += 1
            if theirs.status_code != 403 or said(theirs, victim.ids) != said(nobody, ids):
                passed.append((route.operation, scope, theirs.text))
    figure("requests with a token of another scope that were served", trials=tried, measured=len(passed), promised=0)
    assert not passed


def test_administrators_alone_manage_users(gateway, victim, thief) -> None:
    for operation, body in matrix.OF_ADMINISTRATORS.items():
        route = matrix.route(operation)
        answer = gateway.request(route.method, route.at(victim.ids), json=body, headers=bearer(thief.token))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), operation


def test_tokens_are_revoked_only_under_their_own_user(stack, gateway, victim, thief) -> None:
    route = matrix.route("revoke_token")
    path = route.at(victim.ids | {"user_id": thief.person.id})
    answer = gateway.request(route.method, path, headers=bearer(stack.about.token))
    assert answer.status_code == 404
    tokens = stack_tokens(gateway, stack, victim)
    assert tokens[victim.ids["token_id"]]["revoked_at"] is None


def stack_tokens(gateway: httpx.Client, stack: Any, victim: Any) -> dict[str, Any]:
    path = matrix.route("list_tokens").at(victim.ids)
    return {item["id"]: item for item in gateway.get(path, headers=bearer(stack.about.token)).json()["items"]}


@pytest.mark.parametrize(("path", "status"), matrix.OPEN_PATHS.items())
def test_what_is_open_to_everybody_names_nobody(gateway, victim, path, status) -> None:
    answer = gateway.get(path)
    assert answer.status_code == status
    assert not [value for value in victim.ids.values() if value in answer.text]


def test_an_endpoint_opens_to_its_own_key_alone(proxy, victim, thief, dead_tokens, detector, figure) -> None:
    own = proxy.post(f"/v1/infer/{victim.ids['deployment_id']}", headers=bearer(victim.api_key), content=b"x")
    assert own.status_code == 415, "the owner's request is read, and refused for its content alone"
    _, foreign_key = thief.person.deploy(thief.person.export(thief.person.register(detector)))
    wrong = dead_tokens | {
        "another tenant's key": f"Bearer {foreign_key}",
        "a user's token": f"Bearer {thief.token}",
        "a key that was never made": f"Bearer {credentials.mint(credentials.API_KEY_PREFIX)}",
    }
    told, opened = set(), []
    for header in wrong.values():
        for deployment in (victim.ids["deployment_id"], str(uuid4())):
            headers = {"Content-Type": "image/png"} | ({"Authorization": header} if header else {})
            answer = proxy.post(f"/v1/infer/{deployment}", headers=headers, content=b"x")
            status, body, others = said(answer, {"deployment_id": deployment})
            told.add((body, len(answer.content), str(sorted(others.items()))))
            if status != 401:
                opened.append((header, answer.text))
    figure("wrong keys that the proxy told apart or let in", trials=2 * len(wrong), measured=len(opened), promised=0)
    assert not opened
    assert len(told) == 1


@pytest.mark.parametrize(
    "shape", ["d-{0}", "{0}/infer", "../v2/models/d-{0}/infer", "d-{0}/versions/1/infer", "{0}?model=x"]
)
def test_names_of_triton_s_models_open_nothing(proxy, victim, thief, shape) -> None:
    name = victim.ids["deployment_id"].replace("-", "")
    answer = proxy.post("/v1/infer/" + shape.format(name), headers=bearer(thief.token), content=b"x")
    assert answer.status_code in (401, 404)
    for path in (
        "/v2",
        "/v2/models",
        f"/v2/models/d-{name}/infer",
        f"/v2/models/d-{name}/ready",
        "/v2/repository/index",
    ):
        assert proxy.request("GET", path, headers=bearer(victim.api_key)).status_code == 404
        assert proxy.post(path, headers=bearer(victim.api_key), content=b"{}").status_code == 404


def test_two_tenants_may_use_the_same_names(gateway, victim, thief, detector) -> None:
    """The same model name, version tag, deployment name and idempotency key: nobody meets anybody."""
    key = {"Idempotency-Key": str(uuid4())}
    trainings, jobs = {}, {}
    for who, client, token in (
        ("victim", victim.person, victim.person.client.transport._token),
        ("thief", thief.person, thief.token),
    ):
        trainings[who] = client.register(detector, model_name="same name")
        body = {"training_job_id": str(trainings[who].id), "export_format": "onnx", "version_tag": "v1"}
        made = gateway.post("/api/v1/export/jobs", json=body, headers=bearer(token) | key)
        assert (made.status_code, "idempotency-replayed" in made.headers) == (201, False)
        jobs[who] = made.json()
        client.client.exports.cancel(made.json()["id"])
    assert [job["version"] for job in jobs.values()] == [1, 1]
    assert jobs["victim"]["id"] != jobs["thief"]["id"]
    same = {"training_job_id": str(trainings["victim"].id), "export_format": "onnx", "version_tag": "v1"}
    replay = gateway.post("/api/v1/export/jobs", json=same, headers=bearer(thief.token) | key)
    assert replay.status_code in (404, 422)
    assert str(jobs["victim"]["id"]) not in replay.text


def test_progress_of_others_cannot_be_resumed(gateway, victim, thief) -> None:
    path = matrix.route("follow_export_job").path
    for last in ("0", "1", "999999999"):
        headers = bearer(thief.token) | {"Last-Event-ID": last}
        answer = gateway.get(path.format(job_id=victim.job.id), headers=headers)
        assert answer.status_code == 404


def test_routes_are_typed(thief, gateway) -> None:
    """An id that is none never reaches a query."""
    for route in filter(lambda one: "{" in one.path, matrix.routes()):
        assert isinstance(route, Route)
        for junk in ("1", "%2e%2e", "'%20OR%201=1--", "%00", "null"):
            path = route.at(dict.fromkeys(guessed(), junk))
            answer = gateway.request(route.method, path, headers=bearer(thief.token))
            refusals = (400, 403, 404, 405) if route.scope == Scope.ADMIN else (400, 404, 405)
            assert answer.status_code in refusals, (route.operation, junk)
