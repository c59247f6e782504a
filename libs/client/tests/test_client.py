"""The SDK's resources: what they send, what they make of the answers."""

import json

import msgspec
import pytest

from modelport import Client
from modelport.errors import ApiError, ClientError

TRAINING = {
    "id": "8d5e1f3c-0000-4000-8000-000000000002",
    "framework": "timm",
    "task_type": "image_classification",
    "model_name": "resnet18",
    "checkpoint_path": "s3://vision-platform/uploads/u/x/a.pt",
}
JOBS = "/api/v1/export/jobs"


@pytest.fixture
def client(server):
    with Client(server.url, "mp_t", server.url) as made:
        yield made


def test_upload_then_register(client, server, reply, tmp_path):
    checkpoint = tmp_path / "a.pt"
    checkpoint.write_bytes(b"weights")
    ticket = {"uri": TRAINING["checkpoint_path"], "upload_url": f"{server.url}/put", "headers": {"x-amz-a": "b"}}
    server.json("POST", "/api/v1/uploads", ticket, status=201)
    server.reply("PUT", "/put", reply(200))
    server.json("POST", "/api/v1/training", TRAINING, status=201)
    uri = client.training.upload(checkpoint)
    job = client.training.register(
        framework="timm", task_type="image_classification", model_name="resnet18", checkpoint_path=uri, classes=["a"]
    )
    assert str(job.id) == TRAINING["id"]
    assert server.asked[0].json()["size_bytes"] == 7
    assert server.of("PUT", "/put")[0].headers["x-amz-a"] == "b"
    assert server.of("POST", "/api/v1/training")[0].json()["classes"] == ["a"]


def test_create_sends_what_was_given_and_an_idempotency_key(client, server, job):
    server.json("POST", JOBS, job(), status=201)
    made = client.exports.create(TRAINING["id"], "onnx", export_config={"opset_version": 17})
    assert made.status == "pending"
    assert server.asked[0].json() == {
        "training_job_id": TRAINING["id"],
        "export_format": "onnx",
        "export_config": {"opset_version": 17},
    }
    assert len(server.asked[0].headers["idempotency-key"]) == 36


def test_lists_go_through_all_pages_and_stop_at_the_limit(client, server, reply, job):
    pages = [
        {"items": [job(version=v), job(version=v + 1)], "next_cursor": c} for v, c in ((1, "c1"), (3, "c2"), (5, None))
    ]
    server.reply("GET", JOBS, *(reply(200, json.dumps(page).encode()) for page in pages))
    assert [j.version for j in client.exports.list(status="completed", limit=3)] == [1, 2, 3]
    assert [asked.query.get("cursor") for asked in server.asked] == [None, ["c1"]]
    assert server.asked[1].query["status"] == ["completed"]


def test_wait_tells_every_state_and_answers_the_job(client, server, reply, job):
    stream = (
        b'id: 1\nevent: progressed\ndata: {"stage": "convert", "progress_percent": 40.0, "message": "onnx"}\n\n'
        b'id: 2\nevent: failed\ndata: {"status": "failed"}\n\n'
    )
    server.reply("GET", f"{JOBS}/1/events", reply(200, stream, {"Content-Type": "text/event-stream"}))
    error = {"code": "step_crashed", "message": "The converter crashed.", "stage": "convert"}
    server.json("GET", f"{JOBS}/1", job(status="failed", error=error))
    states = []
    ended = client.exports.wait("1", states.append)
    assert [(s.event, s.stage, s.progress_percent) for s in states] == [
        ("progressed", "convert", 40.0),
        ("failed", None, None),
    ]
    assert ended.error.code == "step_crashed"


def test_log_is_text(client, server, reply):
    server.reply("GET", f"{JOBS}/1/log", reply(200, "grün\n".encode()))
    assert client.exports.log("1") == "grün\n"


def test_deployment_wait_ends_when_it_has_settled(client, server, reply, deployment):
    answers = [deployment(status="deploying"), deployment(status="active")]
    server.reply("GET", "/api/v1/deployments/1", *(reply(200, json.dumps(a).encode()) for a in answers))
    assert client.deployments.wait("1", sleep=lambda _: None).status == "active"


def test_deployment_wait_does_not_wait_for_ever(client, server, deployment):
    server.json("GET", "/api/v1/deployments/1", deployment(status="deploying"))
    with pytest.raises(ClientError, match="still deploying"):
        client.deployments.wait("1", timeout_s=0, sleep=lambda _: None)


def test_infer_uses_the_api_key_and_the_design_s_request(client, server):
    answer = {
        "predictions": [{"class": "cat", "class_id": 0, "confidence": 0.95, "bbox": [10, 20, 100, 150]}],
        "latency_ms": 25,
        "model_version": "v1",
    }
    server.json("POST", "/v1/infer/1", answer)
    found = client.endpoint("1", "pk_k").infer(b"\xff\xd8", confidence_threshold=0.5)
    assert (found.predictions[0].class_name, found.predictions[0].bbox) == ("cat", (10, 20, 100, 150))
    assert server.asked[0].headers["authorization"] == "Bearer pk_k"
    assert server.asked[0].json() == {"image": "/9g=", "confidence_threshold": 0.5}
    assert msgspec.json.decode(msgspec.json.encode(found))["predictions"][0]["class"] == "cat"


@pytest.mark.parametrize(
    ("encoded", "media_type"),
    [
        (b"\xff\xd8\xff\xe0abc", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\nabc", "image/png"),
        (b"RIFF\0\0\0\0WEBPabc", "image/webp"),
        (b"BMabc", "image/bmp"),
    ],
)
def test_a_picture_travels_as_it_is(client, server, encoded, media_type):
    server.json("POST", "/v1/infer/1", {"predictions": [], "latency_ms": 1, "model_version": "v1"})
    client.endpoint("1", "pk_k").infer(encoded, iou_threshold=0.1 + 0.2)
    asked = server.asked[0]
    assert (asked.body, asked.headers["content-type"]) == (encoded, media_type)
    assert float(asked.query["iou_threshold"][0]) == 0.1 + 0.2


def test_a_full_minute_is_waited_for(client, server, reply):
    busy = reply(429, b'{"code": "rate_limited", "detail": "Wait."}', {"Retry-After": "0"})
    server.reply(
        "POST", "/v1/infer/1", busy, reply(200, b'{"predictions": [], "latency_ms": 1, "model_version": "v1"}')
    )
    assert client.endpoint("1", "pk_k").infer(b"BM").predictions == ()


def test_inference_is_repeated_under_the_key_of_its_first_attempt(client, server, reply):
    busy = reply(503, b'{"code": "unavailable", "detail": "Wait."}', {"Retry-After": "0"})
    found = reply(200, b'{"predictions": [], "latency_ms": 1, "model_version": "v1"}')
    server.reply("POST", "/v1/infer/1", busy, found, found)
    endpoint = client.endpoint("1", "pk_k")
    for _ in range(2):
        endpoint.infer(b"BM")
    first, second, other = [asked.headers["idempotency-key"] for asked in server.asked]
    assert first == second != other


def test_a_used_up_month_is_not(client, server, reply):
    server.reply(
        "POST", "/v1/infer/1", reply(429, b'{"code": "quota_exceeded", "detail": "No."}', {"Retry-After": "86400"})
    )
    with pytest.raises(ApiError) as caught:
        client.endpoint("1", "pk_k").infer(b"BM")
    assert (caught.value.code, len(server.asked)) == ("quota_exceeded", 1)


def test_an_endpoint_without_address_is_refused(server):
    with pytest.raises(ClientError, match="proxy"):
        Client(server.url, "mp_t").endpoint("1", "pk_k")


def test_tokens_are_asked_with_scopes(client, server):
    server.json(
        "POST",
        "/api/v1/users/1/tokens",
        {"id": TRAINING["id"], "prefix": "mp_n", "scopes": ["read"], "token": "mp_new"},
        status=201,
    )
    assert client.users.create_token("1", ["read"]).token == "mp_new"
    assert server.asked[0].json() == {"scopes": ["read"]}
