"""Export jobs over REST against real servers: from the request to the package, versions, default, limits, cancel."""

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest

from contracts import keys
from contracts.capabilities import Availability, WorkerAnnouncement
from contracts.events import ExportCancelledV1, ExportRequestedV1
from contracts.subjects import WORKERS
from contracts.vocabulary import ExportFormat, ExportStage, Framework
from gateway.testing.facts import Worker
from gateway.testing.outside import Client, Gateway
from gateway.workers import TTL_S

pytestmark = pytest.mark.integration
JOBS = "/api/v1/export/jobs"

DESIGN_FIELDS = {
    "id", "user_id", "training_job_id", "version", "version_tag", "is_default", "trace_id", "k8s_job_name", "process_id",
    "export_format", "framework", "task_type", "checkpoint_path", "export_config", "optimization_config",
    "validation_config", "status", "progress_percent", "exported_model_path", "export_package_path", "model_size_bytes",
    "optimization_stats", "validation_metrics", "created_at", "started_at", "completed_at", "updated_at", "error_message",
}  # fmt: skip


async def test_a_job_goes_from_request_to_package(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    asked = {"export_config": {"opset_version": 17}, "version_tag": "v1.0"}
    job = await gateway.export(client, training["id"], **asked)
    assert set(job) >= DESIGN_FIELDS
    assert "callback_token" not in job
    assert (job["status"], job["version"], job["version_tag"], job["attempt"]) == ("pending", 1, "v1.0", 0)
    assert job["export_config"] == {"opset_version": 17}
    assert job["trace_id"]

    request = await gateway.requested(job["id"])
    assert request.checkpoint_path == training["checkpoint_path"]
    assert request.classes == ["circle"]
    worker = Worker(request)
    await gateway.publish(worker.progressed(1, ExportStage.CONVERT, 42, "tracing"))
    running = await gateway.until_job(client, job["id"], "running")
    assert (running["stage"], running["progress_percent"], running["message"]) == ("convert", 42, "tracing")
    assert running["wrappers"] == {}
    assert (running["worker_id"], running["started_at"] is not None) == ("worker-1", True)

    await gateway.publish(worker.exported(1), worker.built(1))
    done = await gateway.until_job(client, job["id"], "completed")
    bucket = gateway.parts.objects.bucket
    assert done["proof"] == "verified"
    assert done["parity"]["predictions_matched"] == 10
    assert done["wrappers"] == {"python": {"proof": "verified", "detail": "all 250 checks passed"}}
    assert done["is_default"] is True
    assert done["exported_model_path"] == f"s3://{bucket}/exports/{job['id']}/model.onnx"
    assert done["export_package_path"] == f"s3://{bucket}/exports/{job['id']}/export-package.zip"
    assert done["optimization_stats"] == {"original_size_mb": 4.0, "exported_size_mb": 3.0, "compression_ratio": 1.333}
    assert done["completed_at"] is not None
    assert done["error"] is None


async def test_a_failed_job_says_stage_cause_and_hint(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    await gateway.publish(Worker(await gateway.requested(job["id"])).failed(1))
    failed = await gateway.until_job(client, job["id"], "failed")
    assert failed["error"]["code"] == "conversion_failed"
    assert failed["error"]["stage"] == "convert"
    assert failed["error"]["hint"]
    assert failed["error_message"] == "the converter met an operator it does not know"
    assert failed["is_default"] is False


async def test_versions_count_without_gaps_or_doubles_under_concurrency(gateway: Gateway) -> None:
    client = await gateway.tenant("enterprise")
    first, second = await gateway.training(client), await gateway.training(client)
    refused = {"export_format": "torchscript", "export_config": {"optimize_for_mobile": True}}

    async def ask(number: int) -> None:
        training = (first, second)[number % 2]
        if number % 5 == 0:
            body = {"training_job_id": training["id"], **refused}
            assert (await client.refusal("POST", JOBS, body)) == (422, "unsupported")
        await gateway.export(client, training["id"])

    await asyncio.gather(*(ask(number) for number in range(30)))
    for training in (first, second):
        page = await client.get(f"/api/v1/training/{training['id']}/exports?limit=100")
        assert sorted(job["version"] for job in page["items"]) == list(range(1, 16))


async def test_exactly_one_default_whatever_completes_or_moves_at_once(gateway: Gateway) -> None:
    client = await gateway.tenant("enterprise")
    training = await gateway.training(client)
    made = [await gateway.export(client, training["id"]) for _ in range(6)]
    workers = [Worker(await gateway.requested(job["id"])) for job in made]
    status, code = await client.refusal("POST", f"/api/v1/export/{made[0]['id']}/set-default")
    assert (status, code) == (409, "conflict")
    await asyncio.gather(*(gateway.publish(worker.built(1)) for worker in workers))
    for job in made:
        await gateway.until_job(client, job["id"], "completed")

    async def defaults() -> list[str]:
        jobs = (await client.get(f"{JOBS}?training_job_id={training['id']}&is_default=true"))["items"]
        return [job["id"] for job in jobs]

    assert len(await defaults()) == 1
    await asyncio.gather(*(client.post(f"/api/v1/export/{job['id']}/set-default") for job in made))
    assert len(await defaults()) == 1
    await client.post(f"/api/v1/export/{made[3]['id']}/set-default")
    assert await defaults() == [made[3]["id"]]


async def test_the_tier_limits_exports_at_a_time_also_under_concurrency(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    training = await gateway.training(client)
    body = {"training_job_id": training["id"], "export_format": "onnx"}
    answers = await asyncio.gather(*(client.send("POST", JOBS, body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [429] * 6
    refused = next(answer.json() for answer in answers if answer.status_code == 429)
    assert refused["code"] == "export_limit_reached"
    running = next(answer.json() for answer in answers if answer.status_code == 201)
    await client.post(f"{JOBS}/{running['id']}/cancel")
    await gateway.export(client, training["id"])


async def test_the_tier_limits_exports_a_month(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    training = await gateway.training(client)
    for _ in range(2):
        await gateway.export(client, training["id"])
    await gateway.parts.pool.execute("UPDATE export_jobs SET status = 'failed'")
    copied = "id, version, user_id, training_job_id, export_format, framework, task_type, checkpoint_path, request, timeout_s, status"
    await gateway.parts.pool.execute(
        f"INSERT INTO export_jobs ({copied}) SELECT gen_random_uuid(), 100 + n, user_id, training_job_id, export_format, "
        "framework, task_type, checkpoint_path, request, timeout_s, status FROM export_jobs, generate_series(1, 48) n "
        "WHERE version = 1"
    )
    body = {"training_job_id": training["id"], "export_format": "onnx"}
    assert await client.refusal("POST", JOBS, body) == (429, "export_limit_reached")
    await gateway.parts.pool.execute(
        "UPDATE export_jobs SET created_at = created_at - interval '32 days' WHERE version = 101"
    )
    await gateway.export(client, training["id"])


async def test_cancel_is_at_once_final_and_told_to_the_workers(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    worker = Worker(await gateway.requested(job["id"]))
    await gateway.publish(worker.progressed(1, ExportStage.LOAD, 10))
    await gateway.until_job(client, job["id"], "running")
    assert (await client.post(f"{JOBS}/{job['id']}/cancel"))["status"] == "cancelled"
    assert await client.refusal("POST", f"{JOBS}/{job['id']}/cancel") == (409, "conflict")
    while not (told := await gateway.stated(ExportCancelledV1)):
        await asyncio.sleep(0.02)
    assert str(told[0].job_id) == job["id"]
    await gateway.publish(*worker.story())
    other = await gateway.completed(client)
    assert other["status"] == "completed"
    assert (await client.get(f"{JOBS}/{job['id']}"))["status"] == "cancelled"


async def test_tags_name_versions_and_filter_lists(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    jobs = [await gateway.export(client, training["id"]) for _ in range(3)]
    path = f"{JOBS}/{jobs[1]['id']}"
    tagged = (await client.send("PATCH", path, {"version_tag": "production"})).json()
    assert tagged["version_tag"] == "production"
    found = (await client.get(f"{JOBS}?version_tag=production"))["items"]
    assert [job["id"] for job in found] == [jobs[1]["id"]]
    assert (await client.send("PATCH", path, {"version_tag": None})).json()["version_tag"] is None
    assert await client.refusal("PATCH", path, {"version_tag": "no spaces"}) == (400, "invalid_request")
    assert await client.refusal("PATCH", path, {}) == (400, "invalid_request")


async def test_pages_list_everything_once(gateway: Gateway) -> None:
    client = await gateway.tenant("enterprise")
    training = await gateway.training(client)
    made = [(await gateway.export(client, training["id"]))["id"] for _ in range(7)]
    seen, cursor = [], ""
    while True:
        page = await client.get(f"{JOBS}?limit=3&status=pending{cursor}")
        seen += [job["id"] for job in page["items"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
        await gateway.export(client, training["id"])  # what is added meanwhile shifts nothing
    assert seen == made[::-1]
    for junk in ("junk", "e30", "%00", "a" * 300):
        assert await client.refusal("GET", f"{JOBS}?cursor={junk}") == (400, "invalid_request")


async def test_log_and_report_come_from_the_store(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    path = f"{JOBS}/{job['id']}"
    assert await client.refusal("GET", f"{path}/log") == (404, "not_found")
    assert await client.refusal("GET", f"{path}/report") == (404, "not_found")
    worker = Worker(await gateway.requested(job["id"]))
    exported = worker.exported(1)
    await gateway.parts.objects.put_bytes(exported.log.key, "fetched\nconverted ✓\n".encode())
    await gateway.parts.objects.put_bytes(exported.parity_report.key, b'{"proof": "verified"}')
    await gateway.publish(exported, worker.built(1))
    await gateway.until_job(client, job["id"], "completed")
    log = await client.send("GET", f"{path}/log")
    assert (log.text, log.headers["content-type"]) == ("fetched\nconverted ✓\n", "text/plain; charset=utf-8")
    assert await client.get(f"{path}/report") == {"proof": "verified"}


async def test_a_log_is_found_although_the_package_overtook_the_artefact(gateway: Gateway) -> None:
    client = await gateway.tenant()
    job = await gateway.export(client, (await gateway.training(client))["id"])
    worker = Worker(await gateway.requested(job["id"]))
    await gateway.parts.objects.put_bytes(keys.attempt_file(worker.request.job_id, 1, keys.LOG), b"log")
    await gateway.publish(worker.built(1))
    await gateway.until_job(client, job["id"], "completed")
    await gateway.publish(worker.exported(1))
    assert (await client.send("GET", f"{JOBS}/{job['id']}/log")).text == "log"


async def test_capabilities_are_the_designs_matrix_and_what_lives(gateway: Gateway) -> None:
    client = await gateway.tenant()
    answer = await client.get("/api/v1/export/capabilities?framework=ultralytics")
    onnx = {"supported": True, "quality": "excellent", "native": True, "preprocessing_embedded": True}
    assert answer["framework"] == "ultralytics"
    assert onnx.items() <= answer["formats"]["onnx"].items()
    assert set(answer["formats"]) == {"onnx", "tensorrt", "coreml", "tflite", "openvino", "torchscript"}
    assert answer["live"]["onnx"] == {"available": False, "reason": "no worker is running", "flavors": {}}
    yes = Availability(available=True)
    worker = WorkerAnnouncement(
        worker_id="w1",
        slots=1,
        busy=0,
        formats={ExportFormat.ONNX: yes},
        frameworks={Framework.ULTRALYTICS: yes},
        sandbox="bubblewrap",
        toolchain={},
    )
    bucket = await gateway.parts.bus.kv(WORKERS, ttl=TTL_S, memory=True)
    await bucket.put("w1", msgspec.json.encode(worker))
    answer = await client.get("/api/v1/export/capabilities?framework=ultralytics")
    assert answer["live"]["onnx"]["available"] is True
    assert answer["live"]["torchscript"]["available"] is False
    assert await client.refusal("GET", "/api/v1/export/capabilities?framework=keras") == (400, "invalid_request")
    assert await client.refusal("GET", "/api/v1/export/capabilities") == (400, "invalid_request")


async def test_a_request_has_a_trace_of_its_own_whatever_the_caller_sends(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    stranger = uuid4()
    response = await client.send(
        "POST",
        JOBS,
        {"training_job_id": training["id"], "export_format": "onnx"},
        {"traceparent": f"00-{stranger.hex}-00f067aa0ba902b7-01"},
    )
    trace_id = UUID(response.json()["trace_id"])
    assert trace_id != stranger, "or another tenant's trace could be read as that of one's own job"
    request = await gateway.requested(response.json()["id"])
    assert isinstance(request, ExportRequestedV1)
    stored = await gateway.parts.bus.jetstream.get_last_msg("EXPORT", "export.jobs.requested.v1.onnx")
    assert trace_id.hex in stored.headers["traceparent"]
    assert await Client(gateway.http, client.token).refusal("GET", f"{JOBS}/{request.job_id}/trace") == (
        404,
        "not_found",
    )
