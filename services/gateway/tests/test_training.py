"""Uploads and trainings: over REST and from the bus, by the same rules."""

import hashlib
import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from msgspec import to_builtins

from contracts.events import ExportRequestedV1, TrainingCompletedV1
from contracts.events.training import ExportWish
from contracts.vocabulary import ExportFormat, Framework, TaskType
from gateway.reactions import durable
from gateway.testing.outside import Client, Gateway, until

pytestmark = pytest.mark.integration
PATH = "/api/v1/training"
CONTENT = b"the weights of a model"


def body(uri: str) -> dict[str, object]:
    return {
        "framework": "timm",
        "task_type": "image_classification",
        "model_name": "resnet18",
        "checkpoint_path": uri,
        "config": {"image_size": [224, 224]},
    }


async def uploaded(client: Client, filename: str = "model.pt") -> str:
    digest = hashlib.sha256(CONTENT).hexdigest()
    asked = {"filename": filename, "size_bytes": len(CONTENT), "sha256": digest}
    ticket = await client.post("/api/v1/uploads", asked)
    async with httpx.AsyncClient() as plain:
        put = await plain.put(ticket["upload_url"], content=CONTENT, headers=ticket["headers"])
    assert put.status_code == 200, put.text
    return str(ticket["uri"])


async def test_an_upload_becomes_a_training(gateway: Gateway) -> None:
    client = await gateway.tenant()
    uri = await uploaded(client, "../../runs\\best.pt")
    me = await client.get("/api/v1/users/me")
    assert uri.startswith(f"s3://{gateway.parts.objects.bucket}/uploads/{me['id']}/")
    assert uri.endswith("/best.pt")
    made = await client.post(PATH, body(uri))
    assert await client.get(f"{PATH}/{made['id']}") == made
    assert (await client.get(PATH))["items"] == [made]
    assert (await client.get(f"{PATH}?framework=ultralytics"))["items"] == []
    assert (await client.get(f"{PATH}/{made['id']}/exports"))["items"] == []
    assert made["config"] == {"image_size": [224, 224]}


async def test_an_upload_takes_only_what_was_announced(gateway: Gateway) -> None:
    client = await gateway.tenant()
    asked = {"filename": "a.pt", "size_bytes": 4, "sha256": hashlib.sha256(b"good").hexdigest()}
    ticket = await client.post("/api/v1/uploads", asked)
    async with httpx.AsyncClient() as plain:
        put = await plain.put(ticket["upload_url"], content=b"evil", headers=ticket["headers"])
        assert put.status_code >= 400
        elsewhere = ticket["upload_url"].replace("a.pt", "b.pt")
        put = await plain.put(elsewhere, content=b"good", headers=ticket["headers"])
        assert put.status_code == 403


async def test_a_folder_in_the_store_is_a_checkpoint_too(gateway: Gateway) -> None:
    client = await gateway.tenant()
    me = await client.get("/api/v1/users/me")
    root = f"uploads/{me['id']}/{uuid4()}/vit"
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        await gateway.parts.objects.put_bytes(f"{root}/{name}", b"{}")
    uri = f"s3://{gateway.parts.objects.bucket}/{root}/"
    made = await client.post(PATH, body(uri) | {"framework": "huggingface"})
    assert made["checkpoint_path"] == uri.rstrip("/")


async def test_only_ones_own_uploads_can_be_registered(gateway: Gateway) -> None:
    owner, stranger = await gateway.tenant(), await gateway.tenant()
    uri = await uploaded(owner)
    bucket = gateway.parts.objects.bucket
    me = await owner.get("/api/v1/users/me")
    foreign = [
        f"s3://another-bucket/uploads/{me['id']}/a.pt",
        f"s3://{bucket}/exports/{uuid4()}/model.onnx",
        f"s3://{bucket}/uploads/{me['id']}/../{uuid4()}/a.pt",
        f"s3://{bucket}/uploads/{me['id']}",
        f"s3://{bucket}@evil.example/uploads/{me['id']}/a.pt",
        f"S3://{bucket}/uploads/{me['id']}/a.pt",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        f"s3://{bucket}/uploads/{me['id']}/a\u0000b.pt",
        f"s3://{bucket}//uploads/{me['id']}/a.pt",
    ]
    for path in foreign:
        assert await owner.refusal("POST", PATH, body(path)) == (400, "invalid_uri"), path
    assert await stranger.refusal("POST", PATH, body(uri)) == (400, "invalid_uri")
    missing = f"s3://{bucket}/uploads/{me['id']}/{uuid4()}/a.pt"
    assert await owner.refusal("POST", PATH, body(missing)) == (422, "object_missing")
    assert await gateway.admin.refusal("POST", PATH, body(uri)) == (400, "invalid_uri")
    await gateway.parts.objects.put_bytes("trained/best.pt", b"weights")
    platform = f"s3://{bucket}/trained/best.pt"
    assert (await gateway.admin.post(PATH, body(platform)))["checkpoint_path"] == platform


async def test_sizes_keep_to_the_tier(gateway: Gateway) -> None:
    free = await gateway.tenant("free")
    asked = {"filename": "a.pt", "size_bytes": (1 << 30) + 1, "sha256": "0" * 64}
    assert await free.refusal("POST", "/api/v1/uploads", asked) == (422, "checkpoint_too_large")
    assert (await (await gateway.tenant("pro")).send("POST", "/api/v1/uploads", asked)).status_code == 201


async def test_the_bus_registers_a_training_and_starts_its_export(gateway: Gateway) -> None:
    client = await gateway.tenant()
    event = await completed(gateway, client)
    await gateway.publish(event, event)

    async def exported() -> object:
        found = (await client.get("/api/v1/export/jobs"))["items"]
        return found or None

    await until(exported)
    made = await client.get(f"{PATH}/{event.training_job_id}")
    assert made["model_name"] == "shapes"
    (job,) = (await client.get(f"{PATH}/{event.training_job_id}/exports"))["items"]
    assert (job["export_format"], job["version"], job["version_tag"]) == ("onnx", 1, "nightly")
    assert job["trace_id"]
    assert (await gateway.requested(job["id"])).classes == ["circle", "square"]


async def test_a_training_told_again_under_another_event_id_has_no_second_effect(gateway: Gateway) -> None:
    client = await gateway.tenant()
    event = await completed(gateway, client)
    for identity in ("first", "second"):
        await gateway.parts.bus.publish(event, subject_id=event.training_job_id, event_id=identity)

    async def both() -> object:
        info = await gateway.parts.bus.jetstream.consumer_info("TRAINING", durable(TrainingCompletedV1))
        return (info.ack_floor is not None and info.ack_floor.stream_seq == 2) or None

    await until(both)
    assert len((await client.get("/api/v1/export/jobs"))["items"]) == 1


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (ExportWish(export_format=ExportFormat.ONNX, export_config={"opset": 17}), "invalid_request"),
        (
            ExportWish(
                export_format=ExportFormat.TFLITE, version_tag="phone", export_config={"quantization": "full_integer"}
            ),
            "unsupported",
        ),
    ],
)
async def test_a_refused_wish_is_a_failed_job_that_says_why(gateway: Gateway, wish: ExportWish, code: str) -> None:
    client = await gateway.tenant()
    event = await completed(gateway, client, export=wish)
    await gateway.publish(event)

    async def told() -> Any:
        found = (await client.get("/api/v1/export/jobs"))["items"]
        return found[0] if found else None

    job = await until(told)
    assert (job["status"], job["error"]["code"], job["proof"]) == ("failed", code, "failed")
    assert (job["version"], job["version_tag"], job["export_format"]) == (1, wish.version_tag, wish.export_format)
    assert job["error"]["hint"]
    assert (await client.get(f"{PATH}/{event.training_job_id}"))["model_name"] == "shapes"
    stream = await client.send("GET", f"/api/v1/export/jobs/{job['id']}/events")
    assert "event: failed" in stream.text


async def test_a_wish_over_the_limit_waits_for_its_turn(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    running = [await gateway.export(client, (await gateway.training(client))["id"]) for _ in range(2)]
    event = await completed(gateway, client)
    await gateway.publish(event)
    exports = f"{PATH}/{event.training_job_id}/exports"

    async def waiting() -> Any:
        answer = await client.send("GET", exports)
        return (answer.status_code == 200 and answer.json()["items"]) or None

    (job,) = await until(waiting)
    assert job["status"] == "pending"
    assert job["id"] not in {str(request.job_id) for request in await gateway.stated(ExportRequestedV1)}
    await client.post(f"/api/v1/export/jobs/{running[0]['id']}/cancel")
    assert (await gateway.requested(job["id"])).training_job_id == event.training_job_id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"checkpoint_path": "s3://elsewhere/a.pt"}, "invalid_uri"),
        ({"user_id": UUID(int=5)}, "not_found"),
    ],
)
async def test_an_event_that_cannot_be_right_is_kept_with_its_reason(
    gateway: Gateway, changes: dict[str, object], code: str
) -> None:
    client = await gateway.tenant()
    event = await completed(gateway, client, **changes)
    await gateway.publish(event)
    subject = f"deadletter.{durable(TrainingCompletedV1)}"

    async def dead() -> object:
        return await gateway.messages(subject) or None

    await until(dead)
    letter = await gateway.parts.bus.jetstream.get_last_msg("DEADLETTER", subject)
    assert letter.headers is not None
    assert letter.headers["modelport-reason-code"] == code
    (shown,) = (await gateway.admin.get("/api/v1/dead-letters"))["items"]
    assert (shown["code"], shown["consumer"]) == (code, durable(TrainingCompletedV1))
    assert shown["reason"]
    assert json.loads(shown["body"])["training_job_id"] == str(event.training_job_id)


async def test_a_platform_may_publish_a_bare_body(gateway: Gateway) -> None:
    """`nats pub training.jobs.completed.v1 '{…}'`: no headers, and the subject alone says what it is."""
    client = await gateway.tenant()
    tagged, bare = [to_builtins(await completed(gateway, client)) for _ in range(2)]
    del bare["type"]
    for body in (tagged, bare):
        await gateway.parts.bus.nats.publish("training.jobs.completed.v1", json.dumps(body).encode())

    async def both() -> Any:
        found = (await client.get("/api/v1/export/jobs"))["items"]
        return found if len(found) == 2 else None

    jobs = await until(both)
    assert {job["training_job_id"] for job in jobs} == {tagged["training_job_id"], bare["training_job_id"]}
    assert all(job["trace_id"] for job in jobs)


async def test_a_wish_in_a_month_that_is_used_up_is_a_failed_job(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    training = await gateway.training(client)
    await gateway.export(client, training["id"])
    copied = "user_id, training_job_id, export_format, framework, task_type, checkpoint_path, timeout_s"
    await gateway.parts.pool.execute(
        f"INSERT INTO export_jobs (id, version, status, {copied}) SELECT gen_random_uuid(), 100 + n, 'failed', {copied} "
        "FROM export_jobs, generate_series(1, 49) n"
    )
    event = await completed(gateway, client)
    await gateway.publish(event)

    async def told() -> Any:
        answer = await client.send("GET", f"{PATH}/{event.training_job_id}/exports")
        return (answer.status_code == 200 and answer.json()["items"]) or None

    (job,) = await until(told)
    assert (job["status"], job["error"]["code"]) == ("failed", "export_limit_reached")


async def completed(gateway: Gateway, client: Client, **changes: object) -> TrainingCompletedV1:
    me = await client.get("/api/v1/users/me")
    fields: dict[str, object] = {
        "training_job_id": uuid4(),
        "user_id": UUID(me["id"]),
        "framework": Framework.ULTRALYTICS,
        "task_type": TaskType.OBJECT_DETECTION,
        "model_name": "shapes",
        "checkpoint_path": f"s3://{gateway.parts.objects.bucket}/trained/{uuid4()}/best.pt",
        "classes": ["circle", "square"],
        "export": ExportWish(export_format=ExportFormat.ONNX, version_tag="nightly"),
    }
    return TrainingCompletedV1(**{**fields, **changes})  # checked by the struct's decoder
