"""Preflights through the real worker on real servers: answered, kept for the same user, whatever the checkpoint does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from contracts import subjects
from contracts.envelope import EventMeta
from contracts.events import Event, PreflightAnsweredV1, PreflightRequestedV1
from contracts.export_options import OnnxOptions, TorchScriptOptions
from contracts.vocabulary import ExportFormat, Framework, TaskType
from export_worker.app import build_app
from export_worker.settings import load
from samples.cache import describe
from servicekit import replay
from servicekit.leases import Lease, Leases
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry

from .floor import CHECKPOINT, Floor

pytestmark = pytest.mark.integration


class Answers:
    """Asks for preflights and hears what becomes of them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.heard: list[PreflightAnsweredV1] = []

    async def hear(self, event: Event, meta: EventMeta) -> None:
        assert isinstance(event, PreflightAnsweredV1)
        self.heard.append(event)

    async def ask(self, body: bytes = CHECKPOINT, user_id: UUID | None = None, **changes: object) -> UUID:
        user_id = user_id or uuid4()
        key = f"uploads/{user_id}/{uuid4()}/model.pth"
        await self._floor.store.put_bytes(key, body)
        asked = PreflightRequestedV1(
            preflight_id=uuid4(),
            user_id=user_id,
            training_job_id=uuid4(),
            framework=Framework.TIMM,
            task_type=TaskType.IMAGE_CLASSIFICATION,
            model_name="resnet10t",
            checkpoint_path=f"s3://{self._floor.store.bucket}/{key}",
            checkpoint_max_bytes=1 << 30,
            wishes=[OnnxOptions(), TorchScriptOptions()],
        )
        asked = msgspec.structs.replace(asked, **changes)
        await self._floor.bus.publish(asked, subject_id=asked.preflight_id, sequence=0)
        return asked.preflight_id

    async def answer(self, preflight_id: UUID) -> PreflightAnsweredV1:
        """The one answer."""
        await self._floor.until(lambda: any(one.preflight_id == preflight_id for one in self.heard))
        await asyncio.sleep(0.3)
        (found,) = [one for one in self.heard if one.preflight_id == preflight_id]
        return found


@pytest.fixture
async def answers(floor: Floor) -> AsyncIterator[Answers]:
    made = Answers(floor)
    follower = replay.follow(floor.bus, [PreflightAnsweredV1], made.hear, since="start")
    yield made
    await follower.stop()


@pytest.mark.slow
async def test_a_checkpoint_is_looked_at_once_for_each_user(
    floor: Floor, answers: Answers, telemetry: Telemetry
) -> None:
    sample = describe("digits-timm")
    body, classes = sample.checkpoint.read_bytes(), list(sample.recipe.classes)
    config = {"classes": classes, "source_config": dict(sample.recipe.config)}
    variables = {"MODELPORT_STEP_MEMORY_MIB": "4096", "MODELPORT_PORT": str(free_ports(1)[0])}
    environ = {**floor.environ, **variables}
    app = build_app(load(environ), telemetry=telemetry, environ=environ)
    await app.start()
    user = uuid4()
    try:
        first = await answers.answer(await answers.ask(body, user, **config))
        again = await answers.answer(await answers.ask(body, user, **config))
        stranger = await answers.answer(await answers.ask(body, **config))
        other = await answers.answer(await answers.ask(body, user, wishes=[TorchScriptOptions()], **config))
    finally:
        await app.stop()
    assert first.error is None
    assert [(one.format, one.supported) for one in first.forecasts] == [
        (ExportFormat.ONNX, True),
        (ExportFormat.TORCHSCRIPT, True),
    ]
    assert again.forecasts == first.forecasts == stranger.forecasts
    assert (first.cached, again.cached, stranger.cached, other.cached) == (False, True, False, False)
    assert again.user_id == user
    assert len(other.forecasts) == 1


@pytest.mark.parametrize(
    ("deed", "code"),
    [("crash", "step_crashed"), ("allocate", "step_out_of_memory"), ("link_outputs", "conversion_failed")],
)
async def test_a_hostile_checkpoint_ends_in_an_answer_and_is_not_kept(
    floor: Floor, answers: Answers, tmp_path: Path, deed: str, code: str
) -> None:
    user = uuid4()
    async with floor.worker(deed, tmp_path):
        for _ in range(2):
            found = await answers.answer(await answers.ask(user_id=user))
            assert found.error is not None
            assert (found.error.code, found.forecasts, found.cached) == (code, (), False)
    assert not list((tmp_path / "runs").iterdir())


async def test_a_checkpoint_that_never_ends_is_ended(floor: Floor, answers: Answers, tmp_path: Path) -> None:
    async with floor.worker("hang", tmp_path, MODELPORT_PREFLIGHT_TIMEOUT_S="1"):
        found = await answers.answer(await answers.ask())
    assert found.error is not None
    assert found.error.code == "step_timeout"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"checkpoint_path": f"s3://vision-platform/uploads/{uuid4()}/model.pt"}, "invalid_uri"),
        ({"checkpoint_path": f"s3://vision-platform/preflights/{uuid4()}/x.json"}, "invalid_uri"),
        ({"checkpoint_path": "s3://vision-platform/trained/nothing/model.pt"}, "object_missing"),
        ({"checkpoint_max_bytes": 10}, "checkpoint_too_large"),
    ],
)
async def test_a_checkpoint_that_cannot_be_fetched_is_told(
    floor: Floor, answers: Answers, tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    async with floor.worker("succeed", tmp_path):
        found = await answers.answer(await answers.ask(**changes))
    assert found.error is not None
    assert (found.error.code, found.error.stage) == (code, "fetch")


async def test_one_that_kills_every_worker_is_given_up(floor: Floor, answers: Answers, tmp_path: Path) -> None:
    preflight_id = await answers.ask()
    for _ in range(3):
        taken = await Leases(floor.bus, stale_s=0.0).take(subjects.preflight_lease(preflight_id), "dead worker")
        assert isinstance(taken, Lease)
    async with floor.worker("succeed", tmp_path):
        found = await answers.answer(preflight_id)
    assert found.error is not None
    assert found.error.code == "worker_lost"
