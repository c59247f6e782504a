"""A stranger's things do not exist, and look exactly like things that never did."""

from uuid import uuid4

import httpx
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

JOB, TRAINING, DEPLOYMENT = "job", "training", "deployment"
ROUTES = [
    ("GET", "/api/v1/training/{training}"),
    ("GET", "/api/v1/training/{training}/exports"),
    ("GET", "/api/v1/export/jobs/{job}"),
    ("PATCH", "/api/v1/export/jobs/{job}"),
    ("POST", "/api/v1/export/jobs/{job}/cancel"),
    ("GET", "/api/v1/export/jobs/{job}/events"),
    ("GET", "/api/v1/export/jobs/{job}/log"),
    ("GET", "/api/v1/export/jobs/{job}/report"),
    ("GET", "/api/v1/export/jobs/{job}/trace"),
    ("POST", "/api/v1/export/{job}/set-default"),
    ("GET", "/api/v1/deployments/{deployment}"),
    ("GET", "/api/v1/deployments/{deployment}/history"),
    ("GET", "/api/v1/deployments/{deployment}/usage"),
    ("GET", "/api/v1/deployments/{deployment}/download"),
    ("POST", "/api/v1/deployments/{deployment}/deactivate"),
    ("POST", "/api/v1/deployments/{deployment}/reactivate"),
    ("POST", "/api/v1/deployments/{deployment}/rotate-key"),
    ("DELETE", "/api/v1/deployments/{deployment}"),
]


@pytest.fixture(scope="module")
def known(owner, detector_training, detector_export):
    made = owner.client.deployments.create(detector_export.id, "download", "private")
    return {"training": detector_training.id, "job": detector_export.id, "deployment": made.id}


@pytest.fixture
def stranger(stack, person):
    token = person("pro").client.transport._token
    with httpx.Client(base_url=stack.about.gateway_url, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def ask(client, method, path):
    body = {"json": {"version_tag": "stolen"}} if method == "PATCH" else {}
    return client.request(method, path, **body)


def without_its_id(answer, identity):
    """The answer less what the asker has written himself, and less the id of the trace."""
    said = answer.json()
    said.pop("trace_id", None)
    return answer.status_code, {name: str(value).replace(identity, "ID") for name, value in said.items()}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_stranger_s_id_is_an_unknown_id(stranger, known, method, path):
    kind = next(name for name in known if f"{{{name}}}" in path)
    real, unknown = str(known[kind]), str(uuid4())
    theirs = ask(stranger, method, path.format(**{kind: real}))
    nobody = ask(stranger, method, path.format(**{kind: unknown}))
    assert theirs.status_code == 404
    assert without_its_id(theirs, real) == without_its_id(nobody, unknown)


def test_nothing_of_others_is_listed(stranger, known):
    for path in ("/api/v1/training", "/api/v1/export/jobs", "/api/v1/deployments"):
        assert stranger.get(path).json()["items"] == []


def test_nothing_can_be_made_from_what_others_have(stranger, known):
    export = {"training_job_id": str(known["training"]), "export_format": "onnx"}
    assert stranger.post("/api/v1/export/jobs", json=export).status_code == 404
    deployment = {"export_job_id": str(known["job"]), "deployment_type": "download", "name": "stolen"}
    assert stranger.post("/api/v1/deployments", json=deployment).status_code == 404


def test_a_checkpoint_of_others_cannot_be_registered(stranger, detector_training):
    body = {
        "framework": "ultralytics",
        "task_type": "object_detection",
        "model_name": "yolo11n",
        "checkpoint_path": detector_training.checkpoint_path,
    }
    answer = stranger.post("/api/v1/training", json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("invalid_uri", "object_missing")


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v1/users"), ("POST", "/api/v1/users")])
def test_users_are_managed_by_admins_alone(stranger, method, path):
    answer = stranger.request(method, path, json={"name": "x", "tier": "enterprise"} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("token", [None, "mp_wrong", "mp_" + "0" * 36, "Basic x"])
def test_without_a_token_nothing_is_open(stack, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(f"{stack.about.gateway_url}/api/v1/export/jobs", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_key_opens_its_own_endpoint_alone(owner, person, detector, detector_export, pictures):
    deployment, _ = owner.deploy(detector_export)
    guest = person("pro")
    _, foreign_key = guest.deploy(guest.export(guest.register(detector)))
    headers = {"Authorization": f"Bearer {foreign_key}", "Content-Type": "image/jpeg"}
    answer = httpx.post(deployment.endpoint_url, headers=headers, content=pictures[0].read_bytes())
    assert answer.status_code == 401
