"""Clients that behave like real ones: each request has its key, is repeated until it is answered, and is written down."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID, uuid4

from modelport import Client
from modelport.errors import ApiError, UnreachableError
from modelport.exports import TERMINAL
from modelport.models import ExportJob
from modelport.predictions import Inference
from modelport.transport import IDEMPOTENCY_KEY, Transport

T = TypeVar("T")
AGAIN_S = 0.2
LOOK_S = 0.4
PATIENCE_S = 300.0
"""How long one thing is asked for; a safety net."""
AWAY = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Ended:
    """A job's end as its client saw it: when (monotonic seconds), and the job."""

    at: float
    job: ExportJob


@dataclass
class Ledger:
    """What was acknowledged to the clients, and what they were answered."""

    acknowledged: dict[str, ExportJob] = field(default_factory=dict)
    """By the request's own key."""
    ended: list[Ended] = field(default_factory=list)
    deployed: dict[str, UUID] = field(default_factory=dict)
    """By the request's own key."""
    answered: dict[UUID, int] = field(default_factory=dict)
    """Calls per deployment that got their answer, each with an id of its own."""


class Load:
    """A closed loop: as many jobs as there are clients are under way until `stop`; `plan` names the next job's training."""

    def __init__(self, client: Client, plan: Iterator[UUID], clients: int) -> None:
        self.ledger = Ledger()
        self._client = client
        self._plan = plan
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._hushed = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=64)
        self._tasks: list[Future[None]] = [self._pool.submit(self._export) for _ in range(clients)]

    @property
    def done(self) -> int:
        """Jobs that have come to their end; raises what a client could not bear."""
        for task in self._tasks:
            if task.done():
                task.result()
        return len(self.ledger.ended)

    def deploy(self, job: ExportJob, pictures: list[bytes], every_s: float) -> None:
        """One more client, which has a job deployed and then calls it until `hush`."""
        self._tasks.append(self._pool.submit(self._call, job, pictures, every_s))

    def hush(self) -> None:
        """No more calls; the jobs go on."""
        self._hushed.set()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        """Ask for nothing new, whatever has happened."""
        self._stopping.set()
        self._hushed.set()
        self._pool.shutdown(wait=False)

    def stop(self) -> None:
        """Ask for nothing new, and return when everything that was asked for is answered."""
        self._stopping.set()
        self._hushed.set()
        for task in self._tasks:
            task.result()

    def _export(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                training = next(self._plan)
            key = str(uuid4())
            job = insist(self._client.exports.create, training, "onnx", idempotency_key=key)
            self.ledger.acknowledged[key] = job
            end = self._end_of(job)
            self.ledger.ended.append(Ended(time.monotonic(), end))

    def _end_of(self, job: ExportJob) -> ExportJob:
        """Asked for and not followed: the stream of a job that nobody works on any more would never end."""
        deadline = time.monotonic() + PATIENCE_S
        while (now := insist(self._client.exports.get, job.id)).status not in TERMINAL:
            assert time.monotonic() < deadline, f"job {job.id} is still {now.status} after {PATIENCE_S:.0f} s"
            time.sleep(LOOK_S)
        return now

    def _call(self, job: ExportJob, pictures: list[bytes], every_s: float) -> None:
        key = str(uuid4())
        deployments = self._client.deployments
        made = insist(deployments.create, job.id, "platform_endpoint", f"chaos {key[:8]}", idempotency_key=key)
        self.ledger.deployed[key] = made.id
        self.ledger.answered[made.id] = 0
        active = insist(deployments.wait, made.id, timeout_s=PATIENCE_S)
        assert active.status == "active", active.error
        endpoint = Transport(self._client.proxy_url or "", made.api_key or "", attempts=1)
        for picture in itertools.cycle(pictures):
            headers = {IDEMPOTENCY_KEY: str(uuid4()), "Content-Type": "image/png"}
            insist(endpoint.call, "POST", f"/v1/infer/{made.id}", Inference, content=picture, headers=headers)
            self.ledger.answered[made.id] += 1
            if self._hushed.wait(every_s):
                return


def insist(action: Callable[..., T], *arguments: object, **named: object) -> T:
    """The answer of an action that may be repeated, however long the servers are away; a refusal is raised at once."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return action(*arguments, **named)
        except UnreachableError as error:
            last: Exception = error
        except ApiError as error:
            if error.status not in AWAY and error.code != "idempotency_in_flight":
                raise
            last = error
        assert time.monotonic() < deadline, f"no answer in {PATIENCE_S:.0f} s: {last}"
        time.sleep(AGAIN_S)
