"""Everything that outlives a process: servers, objects, Triton's memory, the users' luck."""

from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

from contracts.errors import Permanent, Transient
from gateway.settings import Settings

from .broker import Broker
from .clock import Process
from .promises import Promises
from .tables import Database

SETTINGS = Settings(
    nats_url="",
    postgres_dsn="",
    s3_endpoint="",
    s3_access_key="",
    s3_secret_key="",
    port=1,
    key_pepper="a pepper of the simulation",
    export_timeout_s=120,
    attempt_grace_s=60,
    silence_limit_s=90,
    pending_limit_s=2_000,
    republish_after_s=30,
    deploy_limit_s=60,
    exports_ahead=2,
)
FATES = ("fine", "fine", "fine", "fine", "refused", "broken", "outage")


class StoreAway(Transient):
    """Object storage lost the request or the answer."""

    def __init__(self) -> None:
        super().__init__("unavailable", "object storage does not answer")


class World:
    """`tell` writes one line of the story."""

    def __init__(self, rng: Random, tell: Callable[[str], None]) -> None:
        self.rng = rng
        self.tell = tell
        self.promises = Promises(self)
        self.database = Database(self.promises.on_commit)
        self.broker = Broker(tell)
        self.objects: Any = {}
        self.loaded: dict[str, None] = {}
        self.tables: dict[str, Any] = {}
        self._fates: dict[UUID, str] = {}

    def fate(self, job_id: UUID) -> str:
        """What becomes of every honest attempt at the job."""
        if job_id not in self._fates:
            self._fates[job_id] = self.rng.choice(FATES)
        return self._fates[job_id]

    def is_unloadable(self, deployment_id: UUID) -> bool:
        return deployment_id.int % 8 == 0

    async def put(self, process: Process, key: str, content: str) -> None:
        await process.deal(lambda: self.objects.update({key: content}), StoreAway, f"storing {key[-40:]}")

    async def take(self, process: Process, key: str) -> str:
        found = await process.deal(lambda: self.objects.get(key), StoreAway)
        if found is None:
            raise Permanent("packaging_failed", "no such object")
        return str(found)


class Store:
    """The part of `ObjectStore` that services use to decide something."""

    def __init__(self, process: Process, world: World) -> None:
        self._process, self._world = process, world

    async def put_bytes(self, key: str, data: bytes, _: str = "", if_none_match: bool = False) -> None:
        def put() -> None:
            if if_none_match and key in self._world.objects:
                raise Permanent("conflict", f"the object {key} exists already")
            self._world.objects[key] = data

        await self._process.deal(put, StoreAway, f"storing {key[-20:]}")

    async def get_bytes(self, key: str, _: int) -> bytes:
        found = await self._process.deal(lambda: self._world.objects.get(key), StoreAway)
        if found is None:
            raise Permanent("object_missing", f"there is no object {key}")
        return bytes(found)

    async def delete(self, key: str) -> None:
        await self._process.deal(lambda: self._world.objects.pop(key, None), StoreAway)
