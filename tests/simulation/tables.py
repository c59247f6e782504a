"""PostgreSQL in memory: transactions that commit wholly or not at all, the outbox and the inbox by their own SQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from contracts.events import ExportRequestedV1
from gateway.store.accounts import UserRow
from gateway.store.deployments import DeploymentRow
from gateway.store.jobs import JobRow
from gateway.store.trainings import TrainingJob
from servicekit import outbox

from .clock import EPOCH, Process


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of export_jobs: what the services read, and what only SQL knows; times in seconds of the simulation."""

    row: JobRow
    request: ExportRequestedV1 | None
    created_at: float
    requested_at: float
    heard_at: float
    released_at: float | None = None
    attempt_started_at: float = 0.0
    events: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A row of deployment_targets."""

    row: DeploymentRow
    requested_at: float
    asked_at: float


@dataclass
class State:
    """Every table; rows are never changed, only replaced."""

    users: dict[UUID, UserRow] = field(default_factory=dict)
    trainings: dict[UUID, TrainingJob] = field(default_factory=dict)
    last_version: dict[UUID, int] = field(default_factory=dict)
    jobs: dict[UUID, Job] = field(default_factory=dict)
    deployments: dict[UUID, Deployment] = field(default_factory=dict)
    outbox: dict[int, dict[str, Any]] = field(default_factory=dict)
    inbox: dict[tuple[str, str], None] = field(default_factory=dict)
    streams: dict[str, datetime] = field(default_factory=dict)
    next_id: int = 1

    def copy(self) -> "State":
        return State(*(copy(value) for value in vars(self).values()))


class Database:
    """The server: one transaction at a time, `watch` sees every commit."""

    def __init__(self, watch: Callable[[State, State], None]) -> None:
        self.state = State()
        self.lock = asyncio.Lock()
        self.written = asyncio.Event()
        self._watch = watch

    def commit(self, after: State) -> None:
        before, self.state = self.state, after
        if after.outbox:
            self.written.set()
        self._watch(before, after)


class Connection:
    """What asyncpg's connection is to the services."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._database = database
        self.state = database.state

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._database.lock:
            self.state = self._database.state.copy()
            yield
            await self._process.deal(lambda: self._database.commit(self.state), ConnectionError, "committing")

    async def execute(self, sql: str, *values: Any) -> str:
        if sql == outbox._PUT:
            self._put(*values)
        elif sql.startswith("DELETE FROM outbox"):
            for key in values[0]:
                self.state.outbox.pop(key, None)
        elif sql.startswith("INSERT INTO inbox"):
            is_new = values not in self.state.inbox
            self.state.inbox[(values[0], values[1])] = None
            return f"INSERT 0 {int(is_new)}"
        return ""

    async def fetch(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        assert sql == outbox._TAKE
        return list(self.state.outbox.values())[: values[0]]

    def _put(self, event_id: str, subject: str, headers: dict[str, str], body: bytes) -> None:
        if any(row["event_id"] == event_id for row in self.state.outbox.values()):
            return
        key = self.state.next_id
        self.state.next_id += 1
        told = {"id": key, "event_id": event_id, "subject": subject, "headers": headers, "body": body}
        self.state.outbox[key] = told


class _Lent:
    """asyncpg's `acquire`: awaited, or entered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __await__(self) -> Generator[None, None, Connection]:
        yield from ()
        return self._connection

    async def __aenter__(self) -> Connection:
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        return None


class SimPool:
    """The pool of one process."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._database = database

    def acquire(self, **_: object) -> _Lent:
        return _Lent(Connection(self._process, self._database))

    async def release(self, _: Connection) -> None:
        return None


def now() -> float:
    return asyncio.get_running_loop().time()


def moment(seconds: float | None = None) -> datetime:
    """A time of the simulation as the database shows it."""
    return datetime.fromtimestamp(EPOCH, UTC) + timedelta(seconds=now() if seconds is None else seconds)
