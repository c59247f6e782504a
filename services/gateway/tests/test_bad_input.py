"""Bad input of every kind is a clear problem that names the field, and changes nothing."""

from uuid import uuid4

import pytest

from gateway.testing.outside import Client, Gateway

pytestmark = pytest.mark.integration
JOBS = "/api/v1/export/jobs"
SHA = "0" * 64


def job(training_id: str, **changes: object) -> dict[str, object]:
    return {"training_job_id": training_id, "export_format": "onnx"} | changes


async def refused(client: Client, path: str, body: object) -> tuple[int, str, list[str]]:
    answer = await client.send("POST", path, body)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["hint"]
    assert problem["instance"] == path
    assert problem["type"] == f"urn:modelport:problem:{problem['code']}"
    return answer.status_code, problem["code"], [error["field"] for error in problem.get("errors", [])]


async def test_fields_at_fault_are_named(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    upload = {"filename": "a.pt", "size_bytes": 1, "sha256": SHA}
    register = {
        "framework": "timm",
        "task_type": "image_classification",
        "model_name": "resnet18",
        "checkpoint_path": "s3://vision-platform/a.pt",
    }
    invalid: list[tuple[str, object, str]] = [
        (JOBS, job(training, colour="red"), "colour"),
        (JOBS, job(training, export_format="caffe"), "export_format"),
        (JOBS, job("not a uuid"), "training_job_id"),
        (JOBS, {"export_format": "onnx"}, "training_job_id"),
        (JOBS, job(training, export_config=[1]), "export_config"),
        (JOBS, job(training, version_tag=""), "version_tag"),
        (JOBS, job(training, version_tag="x" * 101), "version_tag"),
        (JOBS, job(training, export_config={"opset": 17}), "export_config.opset"),
        (JOBS, job(training, export_config={"opset_version": "17"}), "export_config.opset_version"),
        (JOBS, job(training, export_config={"opset_version": 99}), "export_config.opset_version"),
        (JOBS, job(training, export_config={"format": "tensorrt"}), "export_config.format"),
        (
            JOBS,
            job(training, optimization_config={"quantization": {"method": "magic"}}),
            "optimization_config.quantization",
        ),
        (JOBS, job(training, validation_config={"enabled": "yes"}), "validation_config.enabled"),
        ("/api/v1/uploads", upload | {"size_bytes": 0}, "size_bytes"),
        ("/api/v1/uploads", upload | {"size_bytes": -5}, "size_bytes"),
        ("/api/v1/uploads", upload | {"sha256": SHA.upper() + "x"}, "sha256"),
        ("/api/v1/uploads", upload | {"filename": ""}, "filename"),
        ("/api/v1/uploads", upload | {"filename": ".."}, "filename"),
        ("/api/v1/uploads", upload | {"filename": "a\nb.pt"}, "filename"),
        ("/api/v1/uploads", upload | {"filename": "ä" * 200 + ".pt"}, "filename"),
        ("/api/v1/training", register | {"framework": "keras"}, "framework"),
        ("/api/v1/training", register | {"classes": []}, "classes"),
        ("/api/v1/training", register | {"classes": [1]}, "classes"),
        ("/api/v1/training", register | {"classes": ["\u001b[2J"]}, "classes"),
        ("/api/v1/training", register | {"model_name": "safe\u202etp.exe"}, "model_name"),
        ("/api/v1/training", register | {"model_name": ""}, "model_name"),
        ("/api/v1/training", register | {"user_id": str(uuid4())}, "user_id"),
        ("/api/v1/training", register | {"export": {"export_format": "onnx", "colour": 1}}, "export.colour"),
        (
            "/api/v1/deployments",
            {"export_job_id": str(uuid4()), "deployment_type": "ftp", "name": "x"},
            "deployment_type",
        ),
        ("/api/v1/deployments", {"export_job_id": str(uuid4()), "deployment_type": "download", "name": ""}, "name"),
        (
            "/api/v1/deployments",
            {"export_job_id": str(uuid4()), "deployment_type": "platform_endpoint", "name": "x", "config": {"gpus": 1}},
            "config.gpus",
        ),
    ]
    for path, body, field in invalid:
        status, code, fields = await refused(client, path, body)
        assert (status, code) == (400, "invalid_request"), body
        assert len(fields) == 1, body
        assert fields[0].startswith(field), (fields, body)
    assert (await client.get(JOBS))["items"] == []


async def test_text_that_cannot_be_stored_is_refused(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    for changes in ({"model_name": "a\0b"}, {"config": {"a": "\0"}}, {"classes": ["a\0"]}):
        body = {name: training[name] for name in ("framework", "task_type", "model_name", "checkpoint_path")} | changes
        assert await client.refusal("POST", "/api/v1/training", body) == (400, "invalid_request"), changes
    assert await client.refusal("GET", f"{JOBS}?version_tag=%00") == (400, "invalid_request")


async def test_what_cannot_be_done_is_refused_by_name(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    static = {"method": "static", "calibration_dataset_id": str(uuid4())}
    unsupported: list[tuple[dict[str, object], str]] = [
        (
            job(training, export_format="tflite", export_config={"supported_ops": ["SELECT_TF_OPS"]}),
            "export_config.supported_ops",
        ),
        (job(training, export_format="tensorrt", export_config={"precision": "int8"}), "export_config.precision"),
        (job(training, export_format="coreml", export_config={"embed_nms": True}), "export_config.embed_nms"),
        (
            job(training, export_format="torchscript", export_config={"optimize_for_mobile": True}),
            "export_config.optimize_for_mobile",
        ),
        (job(training, optimization_config={"quantization": static}), "optimization_config.quantization.static"),
        (
            job(training, optimization_config={"pruning": {"method": "structured"}}),
            "optimization_config.pruning.structured",
        ),
        (job(training, validation_config={"enabled": True}), "validation_config.enabled"),
    ]
    for body, field in unsupported:
        assert await refused(client, JOBS, body) == (422, "unsupported", [field])
    segmentation = (await gateway.training(client, task_type="semantic_segmentation"))["id"]
    assert await refused(client, JOBS, job(segmentation)) == (422, "unsupported", ["task_type"])
    assert (await client.get(JOBS))["items"] == []


async def test_bodies_that_are_no_json_objects(gateway: Gateway) -> None:
    client = await gateway.tenant()
    auth = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    for content in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"training_job_id": NaN}', b"{" * 5000):
        answer = await gateway.http.post(JOBS, content=content, headers=auth)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), content
    deep = b'{"training_job_id": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    answer = await gateway.http.post(JOBS, content=deep, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    large = b'{"version_tag": "' + b"x" * (5 << 20) + b'"}'
    answer = await gateway.http.post(JOBS, content=large, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_paths_methods_and_parameters(gateway: Gateway) -> None:
    client = await gateway.tenant()
    cases = [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", f"{JOBS}/not-a-uuid", 404, "not_found"),
        ("PUT", JOBS, 405, "method_not_allowed"),
        ("GET", f"{JOBS}?limit=0", 400, "invalid_request"),
        ("GET", f"{JOBS}?limit=201", 400, "invalid_request"),
        ("GET", f"{JOBS}?limit=many", 400, "invalid_request"),
        ("GET", f"{JOBS}?status=asleep", 400, "invalid_request"),
        ("GET", f"{JOBS}?training_job_id=x", 400, "invalid_request"),
        ("GET", f"{JOBS}?color=red", 400, "invalid_request"),
        ("GET", f"{JOBS}?limit=1&limit=2", 400, "invalid_request"),
        ("GET", "/api/v1/deployments?deployment_type=ftp", 400, "invalid_request"),
    ]
    for method, path, status, code in cases:
        assert await client.refusal(method, path) == (status, code), path


async def test_a_list_of_what_was_sent_stays_small(gateway: Gateway) -> None:
    """What is stored is answered by the page: two hundred giant wishes would be read into memory at once."""
    client = await gateway.tenant()
    training = await gateway.training(client)
    axes = {"input": [0] * 100_000}
    body = {"training_job_id": training["id"], "export_format": "onnx", "export_config": {"dynamic_axes": axes}}
    assert await client.refusal("POST", JOBS, body) == (413, "payload_too_large")
    register = {"framework": "timm", "task_type": "image_classification", "model_name": "resnet18"}
    path = {"checkpoint_path": training["checkpoint_path"]}
    config = {"config": {"note": "x" * (1 << 20)}}
    assert await client.refusal("POST", "/api/v1/training", register | path | config) == (413, "payload_too_large")
    names = [f"class {number}" for number in range(21_843)]
    made = await client.post("/api/v1/training", register | path | {"classes": names})
    assert len(made["classes"]) == 21_843
