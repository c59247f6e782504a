"""Bad input of every kind: a clear error with its stage and hint, and a worker that lives on."""

import httpx
import pytest

from modelport.errors import ApiError
from samples.cache import describe

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_a_truncated_checkpoint(owner, detector, tmp_path):
    half = tmp_path / "half.pt"
    half.write_bytes(detector.checkpoint.read_bytes()[:200_000])
    job = owner.export(owner.register(detector, checkpoint=half))
    assert (job.status, job.error.code) == ("failed", "checkpoint_unreadable")
    assert job.error.hint
    assert job.error.stage


def test_a_checkpoint_of_another_framework(owner, detector):
    job = owner.export(
        owner.register(describe("digits-timm"), framework="ultralytics", model_name="yolo11n-cls", config=None)
    )
    assert job.status == "failed"
    assert job.error.code in ("checkpoint_framework_mismatch", "checkpoint_unreadable")


def test_a_checkpoint_of_another_task(owner, detector):
    job = owner.export(owner.register(detector, task_type="image_classification"))
    assert (job.status, job.error.code) == ("failed", "checkpoint_task_mismatch")


def test_weights_of_another_architecture(owner):
    job = owner.export(owner.register(describe("digits-timm"), model_name="resnet50"))
    assert (job.status, job.error.code) == ("failed", "checkpoint_architecture_mismatch")


def test_wrong_number_of_classes(owner, detector):
    job = owner.export(owner.register(detector, classes=["only one"]))
    assert (job.status, job.error.code) == ("failed", "classes_mismatch")


def test_text_that_calls_itself_a_checkpoint(owner, detector, tmp_path):
    (tmp_path / "text.pt").write_text("import os")
    job = owner.export(owner.register(detector, checkpoint=tmp_path / "text.pt"))
    assert (job.status, job.error.code) == ("failed", "checkpoint_unreadable")
    assert owner.client.exports.log(job.id)


def test_the_worker_lives_on(owner, detector_training):
    job = owner.export(detector_training)
    assert job.status == "completed", job.error


@pytest.mark.parametrize(
    ("uri", "codes"),
    [
        ("https://example.org/best.pt", {"invalid_uri", "invalid_request"}),
        ("file:///etc/passwd", {"invalid_uri", "invalid_request"}),
        ("s3://another-bucket/best.pt", {"invalid_uri"}),
        ("s3://vision-platform/exports/x/model.onnx", {"invalid_uri"}),
        ("s3://vision-platform/uploads/../secrets", {"invalid_uri", "object_missing"}),
    ],
)
def test_checkpoints_that_are_no_uploads(owner, uri, codes):
    with pytest.raises(ApiError) as caught:
        owner.client.training.register(
            framework="ultralytics", task_type="object_detection", model_name="yolo11n", checkpoint_path=uri
        )
    assert caught.value.code in codes


def test_an_upload_that_never_came(owner):
    ticket = owner.client.transport.call(
        "POST", "/api/v1/uploads", dict, body={"filename": "a.pt", "size_bytes": 3, "sha256": "0" * 64}
    )
    with pytest.raises(ApiError) as caught:
        owner.client.training.register(
            framework="ultralytics", task_type="object_detection", model_name="yolo11n", checkpoint_path=ticket["uri"]
        )
    assert caught.value.code == "object_missing"


def test_an_upload_must_be_what_was_announced(owner):
    body = {"filename": "a.pt", "size_bytes": 3, "sha256": "0" * 64}
    ticket = owner.client.transport.call("POST", "/api/v1/uploads", dict, body=body)
    answer = httpx.put(ticket["upload_url"], content=b"abc", headers=ticket["headers"])
    assert answer.status_code >= 400


@pytest.mark.parametrize(
    ("export_format", "config", "code", "field"),
    [
        ("coreml", {"embed_nms": True}, "unsupported", "export_config.embed_nms"),
        ("onnx", {"opset": 17}, "invalid_request", "export_config.opset"),
        ("onnx", {"opset_version": "17"}, "invalid_request", "export_config.opset_version"),
        ("torchscript", {"optimize_for_mobile": True}, "unsupported", "export_config.optimize_for_mobile"),
    ],
)
def test_requests_that_nobody_can_fulfil(owner, detector_training, export_format, config, code, field):
    with pytest.raises(ApiError) as caught:
        owner.client.exports.create(detector_training.id, export_format, export_config=config)
    assert caught.value.code == code
    assert [error.field for error in caught.value.fields] == [field]
    assert caught.value.hint


def test_optimizations_of_later_releases_are_refused_by_name(owner, detector_training):
    with pytest.raises(ApiError) as caught:
        owner.client.exports.create(
            detector_training.id, "onnx", optimization_config={"pruning": {"method": "structured"}}
        )
    assert (caught.value.status, caught.value.code) == (422, "unsupported")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/export/jobs", {"training_job_id": "x", "export_format": "onnx"}),
        ("/api/v1/export/jobs", {"export_format": "onnx"}),
        ("/api/v1/training", {"framework": "ultralytics", "surprise": 1}),
        ("/api/v1/uploads", {"filename": "a", "size_bytes": -1, "sha256": "z"}),
        ("/api/v1/deployments", {"export_job_id": 5}),
    ],
)
def test_requests_of_the_wrong_shape(owner, path, body):
    with pytest.raises(ApiError) as caught:
        owner.client.transport.call("POST", path, dict, body=body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_request")
    assert caught.value.fields


def test_an_idempotency_key_is_for_one_request(owner, detector_training, detector_export):
    first = owner.client.exports.create(detector_training.id, "onnx", idempotency_key="k-1")
    again = owner.client.exports.create(detector_training.id, "onnx", idempotency_key="k-1")
    assert again.id == first.id
    owner.client.exports.cancel(first.id)
    with pytest.raises(ApiError) as caught:
        owner.client.exports.create(detector_training.id, "torchscript", idempotency_key="k-1")
    assert (caught.value.status, caught.value.code) == (422, "idempotency_mismatch")


def test_what_is_not_complete_cannot_be_deployed(owner, detector_training):
    job = owner.client.exports.create(detector_training.id, "onnx")
    with pytest.raises(ApiError) as caught:
        owner.client.deployments.create(job.id, "platform_endpoint", "too early")
    assert caught.value.status == 409
    owner.client.exports.cancel(job.id)


def test_exports_of_a_tier_are_limited(person, detector):
    guest = person("free")
    training = guest.register(detector)
    jobs = [guest.client.exports.create(training.id, "onnx") for _ in range(2)]
    with pytest.raises(ApiError) as caught:
        guest.client.exports.create(training.id, "onnx")
    assert (caught.value.status, caught.value.code) == (429, "export_limit_reached")
    for job in jobs:
        guest.client.exports.cancel(job.id)
