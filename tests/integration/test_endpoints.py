"""Live endpoints: what they answer, who may ask, how often, and how their life goes."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from modelport.errors import ApiError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def endpoint(owner, detector_export):
    """A live deployment, its key and its URL."""
    deployment, key = owner.deploy(detector_export)
    return deployment, key


def test_all_forms_of_a_request_have_one_answer(endpoint, pictures):
    deployment, key = endpoint
    headers = {"Authorization": f"Bearer {key}"}
    picture = pictures[0].read_bytes()
    kind = "image/png" if pictures[0].suffix == ".png" else "image/jpeg"
    url = deployment.endpoint_url
    asked = {"confidence_threshold": 0.4, "iou_threshold": 0.5}
    answers = [
        httpx.post(url, headers=headers, json={"image": base64.b64encode(picture).decode(), **asked}),
        httpx.post(url, headers=headers | {"Content-Type": kind}, content=picture, params=asked),
        httpx.post(
            url, headers=headers, files={"image": ("a", picture, kind)}, data={k: str(v) for k, v in asked.items()}
        ),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3, [answer.text for answer in answers]
    first = answers[0].json()
    assert all(answer.json()["predictions"] == first["predictions"] for answer in answers)
    assert first["predictions"]
    assert {"class", "class_id", "confidence", "bbox"} <= first["predictions"][0].keys()
    assert first["latency_ms"] > 0
    assert first["model_version"].startswith("v")


def test_thresholds_are_obeyed(owner, endpoint, pictures):
    deployment, key = endpoint
    caller = owner.client.endpoint(deployment.id, key)
    for threshold in (0.3, 0.9):
        found = caller.infer(pictures[0], confidence_threshold=threshold)
        assert all(prediction.confidence > threshold for prediction in found.predictions)


def test_boxes_lie_in_the_picture_as_it_was_sent(owner, endpoint, pictures):
    deployment, key = endpoint
    for picture in pictures:
        found = owner.client.endpoint(deployment.id, key).infer(picture)
        for left, top, right, bottom in (prediction.bbox for prediction in found.predictions):
            assert 0 <= left < right <= found.image.width
            assert 0 <= top < bottom <= found.image.height


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"not a picture", "image/jpeg", "image_unreadable"),
        (b"", "image/png", "invalid_request"),
        (b"x", "text/plain", "unsupported_media_type"),
        (b"{", "application/json", "invalid_request"),
        (json.dumps({"image": "!!!"}).encode(), "application/json", "invalid_request"),
        (json.dumps({"image": "", "nonsense": 1}).encode(), "application/json", "invalid_request"),
    ],
)
def test_bad_input_is_refused_by_name(endpoint, content, kind, code):
    deployment, key = endpoint
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    answer = httpx.post(deployment.endpoint_url, headers=headers, content=content)
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"] == code
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_truncated_picture_is_refused(endpoint, pictures):
    deployment, key = endpoint
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/jpeg"}
    jpeg = next(path for path in pictures if path.suffix in (".jpg", ".jpeg")).read_bytes()
    answer = httpx.post(deployment.endpoint_url, headers=headers, content=jpeg[: len(jpeg) // 2])
    assert answer.json()["code"] == "image_unreadable"


@pytest.mark.parametrize("key", ["", "pk_short", "pk_" + "0" * 36, "mp_" + "0" * 36])
def test_a_wrong_key_opens_nothing(endpoint, pictures, key):
    deployment, _ = endpoint
    headers = {"Content-Type": "image/jpeg"} | ({"Authorization": f"Bearer {key}"} if key else {})
    answer = httpx.post(deployment.endpoint_url, headers=headers, content=pictures[0].read_bytes())
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")


def test_usage_is_counted(owner, detector_export, pictures, until):
    deployment, key = owner.deploy(detector_export)
    caller = owner.client.endpoint(deployment.id, key)
    for _ in range(3):
        caller.infer(pictures[0])
    until(lambda: owner.client.deployments.usage(deployment.id).request_count == 3, 30, "three requests are counted")
    found = owner.client.deployments.get(deployment.id)
    assert found.last_request_at is not None
    assert found.total_inference_time_ms > 0


def test_the_life_of_an_endpoint(owner, detector_export, pictures, until):
    deployments = owner.client.deployments
    deployment, key = owner.deploy(detector_export)

    def refusal(with_key=key):
        try:
            owner.client.endpoint(deployment.id, with_key, url=owner.client.proxy_url).infer(pictures[0])
        except ApiError as error:
            return error.code
        return ""

    assert refusal() == ""
    new_key = deployments.rotate_key(deployment.id).api_key
    until(
        lambda: refusal(key) == "invalid_api_key" and refusal(new_key) == "",
        30,
        "the new key works and the old does not",
    )
    deployments.deactivate(deployment.id)
    until(lambda: refusal(new_key) == "conflict", 30, "a deactivated endpoint refuses")
    until(lambda: deployments.get(deployment.id).status == "inactive", 30, "it is inactive")
    deployments.reactivate(deployment.id)
    until(lambda: deployments.get(deployment.id).status == "active", 60, "it is active again")
    until(lambda: refusal(new_key) == "", 30, "it answers again")
    events = [event.event_type for event in deployments.history(deployment.id)]
    assert {"deployed", "deactivated", "reactivated"} <= set(events)
    deployments.delete(deployment.id)
    until(lambda: refusal(new_key) in ("invalid_api_key", "not_found"), 30, "a deleted endpoint is gone")
    with pytest.raises(ApiError) as caught:
        deployments.get(deployment.id)
    assert caught.value.status == 404


def test_the_minute_of_the_free_tier_is_never_exceeded(person, detector, pictures):
    guest = person("free")
    job = guest.export(guest.register(detector))
    deployment, key = guest.deploy(job)
    picture = pictures[0].read_bytes()
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "image/png" if pictures[0].suffix == ".png" else "image/jpeg",
    }

    def ask(_):
        return httpx.post(deployment.endpoint_url, headers=headers, content=picture, timeout=30)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(30)))
    admitted = sum(answer.status_code == 200 for answer in answers)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert admitted + len(refused) == 30
    assert 10 <= admitted <= 20, "ten a minute; a new minute may have begun on the way"
    assert refused[0].json()["code"] == "rate_limited"
    assert int(refused[0].headers["retry-after"]) >= 1
    assert {"ratelimit", "ratelimit-policy"} <= {name.lower() for name in refused[0].headers}
