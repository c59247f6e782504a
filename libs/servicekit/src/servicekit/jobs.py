"""Long jobs from the bus: one message per slot, heartbeats, a fenced lease, bounded tries, dead letters with a reason.

FastStream's pull loop has none of these, hence this small consumer on nats-py. How often a job was tried is counted in
its lease, not by the server: a graceful restart is not a failure, and the last failure's reason is known when it counts.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

import nats.errors
from nats.aio.msg import Msg

from contracts.envelope import EventMeta
from contracts.errors import ErrorInfo, ModelportError, Permanent
from contracts.events import Event
from contracts.subjects import stream_of
from servicekit import tasks
from servicekit.bus import Bus
from servicekit.consumers import PullConsumer, durable_config
from servicekit.delivery import OUTAGE_FACTOR, backoff, explain, give_up, is_outage, listens_to, read
from servicekit.leases import Busy, Done, Lease, LeaseLost, Leases

E = TypeVar("E", bound=Event)

_FETCH_S = 1.0
_log = logging.getLogger(__name__)


class Exhausted(ErrorInfo, frozen=True, kw_only=True, omit_defaults=True):
    """Why a job ended in the dead letters, and the attempt that its terminal fact must carry."""

    attempt: int = 1


class JobConsumer(Generic[E]):
    """Takes `event_type` messages one per slot and runs `handler(event, meta, lease)` for each.

    The handler states its terminal fact itself: `await lease.heartbeat()`, publish, return. A return completes the lease
    and acks. Permanent goes to the dead letters; any other error is retried `max_deliver` times in all, an outage
    (Transient `unavailable`) four times as often. `on_exhausted` gets the event and the reason of everything
    dead-lettered that could be decoded. A job whose process dies is redelivered after `ack_wait_s`. Cancelling the
    handler (lease lost, stop) must end its work.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        event_type: type[E],
        durable: str,
        handler: Callable[[E, EventMeta, Lease], Awaitable[None]],
        on_exhausted: Callable[[E, Exhausted], Awaitable[None]],
        routing: list[str] | None = None,
        slots: int = 1,
        ack_wait_s: float = 30.0,
        heartbeat_s: float = 10.0,
        max_deliver: int = 5,
        lease_key: Callable[[E, EventMeta], str] | None = None,
        owner: str = "",
    ) -> None:
        self._bus = bus
        self._event_type = event_type
        self._durable = durable
        self._handler = handler
        self._on_exhausted = on_exhausted
        self._subjects = [listens_to(event_type, route) for route in routing or (None,)]
        self._slots = slots
        self._ack_wait_s = ack_wait_s
        self._heartbeat_s = heartbeat_s
        self._max_deliver = max_deliver
        self._lease_key = lease_key or self._default_key
        self._owner = owner or f"{socket.gethostname()}-{os.getpid()}"
        self._leases = Leases(bus, stale_s=ack_wait_s)
        self._tasks: list[asyncio.Task[None]] = []
        self._suspect: Msg | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def busy(self) -> int:
        """Jobs running at this moment."""
        return len(self._running)

    async def start(self) -> None:
        """Declare the consumer and begin to take jobs; the bus must be connected."""
        stream = stream_of(self._subjects[0])
        config = durable_config(self._durable, self._subjects, ack_wait_s=self._ack_wait_s, max_ack_pending=1000)
        for slot in range(self._slots):
            consumer = PullConsumer(self._bus.jetstream, stream, config)
            await consumer.declare()
            await consumer.bind()
            self._tasks.append(asyncio.create_task(self._serve(consumer), name=f"{self._durable}-{slot}"))

    async def stop(self, grace_s: float = 10.0) -> None:
        """Take no more jobs; what still runs after `grace_s` is cancelled and handed back for redelivery at once."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        while any(not slot.done() for slot in self._tasks):
            for job in tuple(self._running):
                job.cancel()
            await asyncio.wait(self._tasks, timeout=tasks.PATIENCE_S)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _serve(self, consumer: PullConsumer) -> None:
        try:
            while not self._stopping.is_set():
                with suppress(nats.errors.TimeoutError):
                    for message in await consumer.fetch(1, _FETCH_S):
                        await self._settle(message)
        finally:
            with suppress(nats.errors.Error, OSError):
                await consumer.unsubscribe()

    async def _settle(self, message: Msg) -> None:
        """Never raises: a message that cannot be settled now is redelivered by the server."""
        try:
            if self._stopping.is_set():
                await message.nak()
                return
            try:
                event, meta = read(self._event_type, message)
            except Permanent as error:
                await give_up(self._bus.jetstream, message, self._durable, explain(error))
                return
            admits = partial(self._admits, message)
            taken = await self._leases.take(self._lease_key(event, meta), self._owner, admits)
            if isinstance(taken, Lease):
                await self._attempt(message, event, meta, taken)
            elif isinstance(taken, Done):
                _log.info("%s: attempt %d has done it already", self._durable, taken.attempt)
                await message.ack()
            elif isinstance(taken, Busy):
                await message.nak(delay=taken.retry_s)
        except LeaseLost as error:
            _log.warning("%s: %s", self._durable, error)
        except (nats.errors.Error, OSError) as error:
            _log.warning("%s: the message is not settled: %s", self._durable, error or type(error).__name__)
        except Exception:
            _log.exception("%s: the message is not settled", self._durable)
        finally:
            if self._suspect is message:
                self._suspect = None

    def _admits(self, message: Msg, failures: int) -> bool:
        """A job that has used up half of its tries runs beside no other such: what kills its worker must not take the same along again."""
        if failures * 2 < self._max_deliver:
            return True
        self._suspect = self._suspect or message
        return self._suspect is message

    async def _attempt(self, message: Msg, event: E, meta: EventMeta, lease: Lease) -> None:
        if lease.failures >= self._max_deliver:
            error = Permanent("worker_lost", f"the worker died in each of {lease.failures} attempts")
            await self._exhaust(message, event, lease, explain(error))
            return
        job = asyncio.create_task(self._run(message, event, meta, lease))
        self._running.add(job)
        pulse = asyncio.create_task(self._beat(message, lease, job))
        try:
            try:
                await job
            finally:
                await tasks.end(pulse)  # or a last heartbeat could undo what is written below
        except asyncio.CancelledError:
            with suppress(nats.errors.Error, OSError, LeaseLost):
                await self._interrupted(message, lease)
            if _is_cancelled():
                raise
        except LeaseLost:
            raise
        except Exception as error:
            await self._failed(message, event, lease, error)
        else:
            await lease.complete()
            await message.ack_sync(timeout=5)
        finally:
            self._running.discard(job)

    async def _run(self, message: Msg, event: E, meta: EventMeta, lease: Lease) -> None:
        await self._bus.in_span(self._durable, message, lambda: self._handler(event, meta, lease))

    async def _beat(self, message: Msg, lease: Lease, job: "asyncio.Task[None]") -> None:
        """Keep lease and message fresh; the lease first, so that it is stale whenever the message is redelivered."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            try:
                await lease.heartbeat()
                await message.in_progress()
            except LeaseLost as error:
                _log.warning("%s: %s: stopping this attempt", self._durable, error)
                await tasks.end(job)
                return
            except (nats.errors.Error, OSError) as error:
                _log.warning("%s: heartbeat: %s", self._durable, error or type(error).__name__)

    async def _interrupted(self, message: Msg, lease: Lease) -> None:
        """The job was cancelled: by the loss of its lease (leave everything), or by `stop` (hand it back)."""
        if not await lease.still_mine():
            return
        await lease.release(failed=False)
        await message.nak()

    async def _failed(self, message: Msg, event: E, lease: Lease, error: Exception) -> None:
        counted = not is_outage(error)
        failures = lease.failures + counted
        is_last = failures >= self._max_deliver or lease.attempt >= self._max_deliver * OUTAGE_FACTOR
        if isinstance(error, Permanent) or is_last:
            await self._exhaust(message, event, lease, explain(error))
            return
        _log.warning(
            "%s: attempt %d failed: %s",
            self._durable,
            lease.attempt,
            error,
            exc_info=None if isinstance(error, ModelportError) else error,
        )
        await lease.release(failed=counted)
        await message.nak(delay=backoff(lease.attempt))

    async def _exhaust(self, message: Msg, event: E, lease: Lease, reason: ErrorInfo) -> None:
        """State the end first: if that fails, the message comes again and tries to state it again."""
        fields = {name: getattr(reason, name) for name in ErrorInfo.__struct_fields__}
        await lease.heartbeat()
        await self._on_exhausted(event, Exhausted(**fields, attempt=lease.attempt))
        await lease.complete()
        await give_up(self._bus.jetstream, message, self._durable, reason)

    def _default_key(self, event: E, meta: EventMeta) -> str:
        """The job's id where the event has one, else the event's own id."""
        return f"{self._durable}.{getattr(event, 'job_id', None) or meta.id}"


def _is_cancelled() -> bool:
    """Whether the running task itself was cancelled, not only the job it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
