"""Preflights: a worker's answer folded and waited for, refusals by name without one, and nobody else's."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from contracts import subjects
from contracts.capabilities import Availability, WorkerAnnouncement
from contracts.errors import ErrorInfo
from contracts.events import PreflightAnsweredV1, PreflightRequestedV1
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Framework, Precision, Proof
from gateway.reconciler import Reconciler
from gateway.settings import Settings
from gateway.testing.outside import Client, Gateway, until
from gateway.workers import TTL_S

PATH = "/api/v1/export/preflight"
X = ExportFormat


@pytest.fixture
def patience() -> float:
    return 60.0


@pytest.fixture
def settings(settings: Settings, patience: float) -> Settings:
    return msgspec.structs.replace(settings, preflight_wait_s=patience)


async def requested(gateway: Gateway, training_id: str) -> PreflightRequestedV1:
    async def find() -> PreflightRequestedV1 | None:
        found = await gateway.stated(PreflightRequestedV1)
        return next((event for event in reversed(found) if str(event.training_job_id) == training_id), None)

    return await until(find)


def foreseen(event: PreflightRequestedV1, **changes: object) -> PreflightAnsweredV1:
    """A worker's answer: every format works, but CoreML."""
    formats = [X(str(wish.__struct_config__.tag)) for wish in event.wishes]
    good = [
        Forecast(
            format=name, supported=True, route=("torch", str(name)), proof=Proof.VERIFIED, precision=Precision.FP32
        )
        for name in formats
    ]
    bad = Forecast(
        format=X.COREML, supported=False, code="unsupported_operator", reason="lacks aten::kthvalue", hint="Use onnx."
    )
    answer = PreflightAnsweredV1(
        preflight_id=event.preflight_id,
        user_id=event.user_id,
        forecasts=tuple(bad if one.format is X.COREML else one for one in good),
        duration_s=1.5,
    )
    return msgspec.structs.replace(answer, **changes)


async def answer(gateway: Gateway, fact: PreflightAnsweredV1, attempt: int = 1) -> None:
    await gateway.parts.bus.publish(fact, subject_id=fact.preflight_id, sequence=attempt)


async def asked(gateway: Gateway, client: Client, training_id: str, **body: object) -> dict[str, object]:
    """A preflight that a worker answers while it is waited for."""
    waiting = asyncio.create_task(client.send("POST", PATH, {"training_job_id": training_id, **body}))
    await answer(gateway, foreseen(await requested(gateway, training_id)))
    response = await waiting
    assert response.status_code == 200, response.text
    found: dict[str, object] = response.json()
    return found


async def announce(gateway: Gateway, **formats: Availability) -> None:
    told = WorkerAnnouncement(
        worker_id="w1",
        slots=1,
        busy=0,
        formats={X(name): state for name, state in formats.items()},
        frameworks={Framework.ULTRALYTICS: Availability(available=True)},
        sandbox="bubblewrap",
        toolchain={},
    )
    bucket = await gateway.parts.bus.kv(subjects.WORKERS, ttl=TTL_S, memory=True)
    await bucket.put("w1", msgspec.json.encode(told))


async def test_the_answer_of_a_worker_comes_back_with_what_live_workers_can_do(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    flavors = {"tensorrt": "no NVIDIA GPU on this worker", "rtx": ""}
    await announce(gateway, onnx=Availability(available=True), tensorrt=Availability(available=True, flavors=flavors))
    found = await asked(gateway, client, training)
    formats = {one["format"]: one for one in found["formats"]}
    assert list(formats) == [str(name) for name in X]
    assert formats["onnx"]["supported"]
    assert formats["onnx"]["available"]
    assert formats["onnx"]["waits_for"] == ""
    assert (formats["coreml"]["supported"], formats["coreml"]["available"]) == (False, False)
    assert formats["coreml"]["reason"] == "lacks aten::kthvalue"
    assert not formats["tflite"]["available"]
    assert "a worker that makes tflite" in formats["tflite"]["waits_for"]
    assert "no NVIDIA GPU" in formats["tensorrt"]["waits_for"]
    assert '"rtx"' in formats["tensorrt"]["hint"]
    assert (found["is_answered"], found["cached"], found["duration_s"]) == (True, False, 1.5)
    again = await client.get(f"{PATH}s/{found['preflight_id']}")
    assert again == found


async def test_options_are_of_the_asked_format_alone(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    config, quantization = {"opset_version": 15}, {"quantization": {"method": "dynamic"}}
    await asked(gateway, client, training, export_format="onnx", export_config=config, optimization_config=quantization)
    event = await requested(gateway, training)
    assert len(event.wishes) == len(X)
    assert [getattr(wish, "opset_version", None) for wish in event.wishes].count(15) == 1
    assert event.optimized is X.ONNX
    assert event.optimization.quantization is not None


async def test_what_is_refused_by_name_is_a_forecast_and_needs_no_worker(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client, framework="timm", task_type="pose_estimation"))["id"]
    found = await client.post(PATH, {"training_job_id": training})
    assert found["is_answered"]
    assert {one["format"] for one in found["formats"]} == set(X)
    for one in found["formats"]:
        assert (one["supported"], one["code"]) == (False, "unsupported")
        assert "timm pose_estimation" in one["reason"]
        assert one["hint"]
    assert [e for e in await gateway.stated(PreflightRequestedV1) if str(e.training_job_id) == training] == []


async def test_one_refused_format_does_not_keep_the_others_from_being_looked_at(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    mobile = {"optimize_for_mobile": True}
    found = await asked(gateway, client, training, export_format="torchscript", export_config=mobile)
    formats = {one["format"]: one for one in found["formats"]}
    assert formats["torchscript"]["code"] == "unsupported"
    assert "optimize_for_mobile" in formats["torchscript"]["reason"]
    assert formats["onnx"]["supported"]
    event = await requested(gateway, training)
    assert "torchscript" not in [str(wish.__struct_config__.tag) for wish in event.wishes]


async def test_a_checkpoint_that_cannot_be_used_is_told_for_every_format(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    waiting = asyncio.create_task(client.post(PATH, {"training_job_id": training}))
    error = ErrorInfo(code="checkpoint_unreadable", message="It is truncated.", hint="Upload it again.")
    event = await requested(gateway, training)
    await answer(gateway, foreseen(event, forecasts=(), error=error))
    found = await waiting
    assert found["error"]["code"] == "checkpoint_unreadable"
    assert [one["reason"] for one in found["formats"]] == ["It is truncated."] * len(X)


@pytest.mark.parametrize("patience", [0.05])
async def test_what_takes_long_is_asked_for_again(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    response = await client.send("POST", PATH, {"training_job_id": training}, {"Idempotency-Key": "k"})
    assert response.status_code == 202
    assert response.json()["formats"] == []
    where = response.headers["Location"]
    assert not (await client.get(where))["is_answered"]
    event = await requested(gateway, training)
    await answer(gateway, foreseen(event))

    async def find() -> object:
        found = await client.get(where)
        return found if found["is_answered"] else None

    await until(find)
    again = await client.send("POST", PATH, {"training_job_id": training}, {"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["preflight_id"] == response.json()["preflight_id"]
    assert len(again.json()["formats"]) == len(X)


async def test_the_first_answer_counts_and_only_for_its_user(gateway: Gateway) -> None:
    client, other = await gateway.tenant(), await gateway.tenant()
    training = (await gateway.training(client))["id"]
    waiting = asyncio.create_task(client.post(PATH, {"training_job_id": training}))
    event = await requested(gateway, training)
    await answer(gateway, foreseen(event, user_id=UUID(int=7), duration_s=9.0))
    await answer(gateway, foreseen(event), attempt=2)
    found = await waiting
    assert found["duration_s"] == 1.5
    await answer(gateway, foreseen(event, duration_s=7.0), attempt=3)
    assert await other.refusal("GET", f"{PATH}s/{found['preflight_id']}") == (404, "not_found")
    assert await other.refusal("POST", PATH, {"training_job_id": training}) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"export_config": {}}, "export_config"),
        ({"export_format": "onnx", "export_config": {"opset": 1}}, "export_config.opset"),
        ({"optimization_config": {"quantization": {"method": "x"}}}, "optimization_config"),
        ({"formats": ["onnx"]}, "formats"),
    ],
)
async def test_a_field_that_is_wrong_is_named(gateway: Gateway, body: dict[str, object], field: str) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    response = await client.send("POST", PATH, {"training_job_id": training, **body})
    assert response.status_code == 400
    assert field in response.text


@pytest.mark.parametrize("patience", [0.01])
async def test_nobody_has_more_unanswered_ones_than_exports_at_a_time(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    training = (await gateway.training(client))["id"]
    codes = [(await client.send("POST", PATH, {"training_job_id": training})).status_code for _ in range(6)]
    assert codes[0] == 202
    assert codes[-1] == 429


async def test_the_seconds_of_past_exports_are_the_user_s_own_or_a_crowd_s(gateway: Gateway) -> None:
    client = await gateway.tenant()
    done = await gateway.completed(client)
    found = await asked(gateway, client, done["training_job_id"])
    formats = {one["format"]: one for one in found["formats"]}
    assert formats["onnx"]["expected_seconds"] > 0
    assert formats["openvino"]["expected_seconds"] is None
    stranger = await gateway.tenant()
    training = (await gateway.training(stranger))["id"]
    seen = await asked(gateway, stranger, training)
    assert {one["expected_seconds"] for one in seen["formats"]} == {None}
    for _ in range(4):
        await gateway.completed(await gateway.tenant())
    late = await gateway.tenant()
    seen = await asked(gateway, late, (await gateway.training(late))["id"])
    assert {one["format"]: one for one in seen["formats"]}["onnx"]["expected_seconds"] > 0


async def test_one_that_no_worker_answers_is_given_up_and_old_ones_are_forgotten(gateway: Gateway) -> None:
    client = await gateway.tenant()
    training = (await gateway.training(client))["id"]
    waiting = asyncio.create_task(client.post(PATH, {"training_job_id": training}))
    await requested(gateway, training)
    tiny = msgspec.structs.replace(gateway.parts.settings, preflight_limit_s=0.01, preflight_keep_s=1e-6)
    hasty = Reconciler(msgspec.structs.replace(gateway.parts, settings=tiny))
    assert await hasty.expire_preflights() == 1
    found = await waiting
    assert found["error"]["code"] == "deadline_exceeded"
    await hasty.prune()
    assert await client.refusal("GET", f"{PATH}s/{found['preflight_id']}") == (404, "not_found")
