"""What users, a training platform and proxies that count do while the story lasts."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID, uuid4

from contracts.errors import ModelportError
from contracts.events import InferenceRecordedV1, TrainingCompletedV1
from contracts.events.training import ExportWish
from contracts.vocabulary import DeploymentType, ExportFormat, ExportStatus, Framework, TaskType, Tier
from gateway import requests
from gateway.deployment import Command
from gateway.deployment_requests import NewDeployment, change_deployment, request_deployment, rotate_key
from gateway.requests import NewTraining
from gateway.store.accounts import UserRow
from gateway.store.jobs import JobRow
from servicekit.postgres import transaction

from .broker import SimBus
from .clock import Process
from .tables import Connection, SimPool, moment
from .world import SETTINGS, World

WISH = ExportWish(export_format=ExportFormat.ONNX)
CHECKPOINT = f"s3://{SETTINGS.s3_bucket}/trained/best.pt"
R = TypeVar("R")


class _ChangedMind(Exception):
    """The user's connection broke before the answer: the transaction is rolled back."""


class Crowd:
    """One user with one training, through whatever weather."""

    def __init__(self, process: Process, world: World) -> None:
        self._process, self._world = process, world
        self._pool: Any = SimPool(process, world.database)
        self._bus = SimBus(process, world.broker, "platform")
        self._user = UserRow(id=uuid4(), name="somebody", tier=Tier.ENTERPRISE, created_at=moment())
        self._training = NewTraining(
            id=uuid4(),
            user_id=self._user.id,
            framework=Framework.ULTRALYTICS,
            task_type=TaskType.OBJECT_DETECTION,
            model_name="shapes",
            checkpoint_path=CHECKPOINT,
            classes=None,
            config=None,
            export=None,
        )
        world.database.state.users[self._user.id] = self._user

    async def _ask(self, effect: Callable[[Any], Awaitable[R]]) -> R | None:
        """The answer, or None where it was refused or never came."""
        try:
            async with transaction(self._pool) as conn:
                return await effect(conn)
        except (ModelportError, ConnectionError, _ChangedMind):
            return None

    async def exports(self, delay_s: float, *, is_cancelled: bool) -> None:
        """Ask for an export; perhaps for nothing, perhaps cancelled later, perhaps made the default."""
        rng = self._world.rng
        await asyncio.sleep(delay_s)
        if rng.random() < 0.2:
            await self._ask(self._change_of_mind)
        job = await self._ask(self._request)
        if job is None:
            return
        self._world.promises.acknowledged.append(job.id)
        await asyncio.sleep(rng.uniform(0, 40))
        if is_cancelled:
            await self._ask(lambda conn: requests.cancel_export(conn, self._user.id, job.id))
        else:
            await self._ask(lambda conn: requests.make_default(conn, self._user.id, job.id))

    async def _request(self, conn: Connection) -> JobRow:
        made: Any = conn
        training = await requests.register_training(made, self._training, SETTINGS.export_timeout_s)
        row = await requests.request_export(made, training, WISH, SETTINGS.export_timeout_s)
        await requests.release_exports(made, SETTINGS.exports_ahead)
        return row

    async def _change_of_mind(self, conn: Connection) -> None:
        await self._request(conn)
        raise _ChangedMind

    async def trainings(self, delay_s: float) -> None:
        """The training platform states that a training has ended, and which export it wishes for."""
        await asyncio.sleep(delay_s)
        event = TrainingCompletedV1(
            training_job_id=uuid4(),
            user_id=self._user.id,
            framework=Framework.ULTRALYTICS,
            task_type=TaskType.OBJECT_DETECTION,
            model_name="shapes",
            checkpoint_path=CHECKPOINT,
            export=WISH,
        )
        for _ in range(self._world.rng.randint(1, 2)):
            await self._bus.publish(event, subject_id=event.training_job_id, event_id=str(uuid4()))
            self._world.promises.trainings.append(event.training_job_id)

    async def deploys(self, delay_s: float) -> None:
        """Deploy the first export that is completed, change one's mind some times, count calls."""
        rng, state = self._world.rng, self._world.database
        await asyncio.sleep(delay_s)
        for _ in range(40):
            done = [one.row.id for one in state.state.jobs.values() if one.row.state.status is ExportStatus.COMPLETED]
            if done:
                break
            await asyncio.sleep(2)
        else:
            return
        asked = NewDeployment(
            export_job_id=done[0],
            deployment_type=DeploymentType.PLATFORM_ENDPOINT,
            name="x",
            description=None,
            config=None,
        )
        made = await self._ask(lambda conn: request_deployment(conn, self._user.id, asked, SETTINGS.key_pepper))
        if made is None:
            return
        at = made[0].id
        for _ in range(rng.randint(0, 4)):
            await asyncio.sleep(rng.expovariate(0.2))
            await self._ask(self._a_change(at))
            await self._call(at)

    def _a_change(self, at: UUID) -> Callable[[Any], Awaitable[object]]:
        asked = self._world.rng.choice((Command.DEACTIVATE, Command.REACTIVATE, Command.DELETE, None))
        if asked is None:
            return lambda conn: rotate_key(conn, self._user.id, at, SETTINGS.key_pepper)
        return lambda conn: change_deployment(conn, self._user.id, at, asked)

    async def _call(self, at: UUID) -> None:
        """A proxy tells what it has served; without an answer it tells again, under the same id."""
        when = moment()
        fact = InferenceRecordedV1(
            deployment_id=at,
            user_id=self._user.id,
            proxy_id="proxy",
            requests=1,
            errors=0,
            inference_time_ms=1.0,
            first_request_at=when,
            last_request_at=when,
        )
        identity = str(uuid4())
        for _ in range(self._world.rng.randint(1, 2)):
            await self._bus.publish(fact, subject_id=at, event_id=identity)
        self._world.promises.billed[at] += 1


def visits(process: Process, world: World) -> list[Coroutine[Any, Any, None]]:
    """Everybody's plans."""
    rng, crowd = world.rng, Crowd(process, world)
    plans = [crowd.exports(rng.uniform(0, 50), is_cancelled=rng.random() < 0.25) for _ in range(rng.randint(1, 3))]
    plans += [crowd.trainings(rng.uniform(0, 50)) for _ in range(rng.randint(0, 1))]
    plans += [crowd.deploys(rng.uniform(10, 50)) for _ in range(rng.randint(0, 2))]
    return plans
