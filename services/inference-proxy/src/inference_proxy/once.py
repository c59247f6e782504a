"""Idempotency-Key on inference: the same request of one deployment is billed once and answered once.

The ledger counts the unit in the transaction that remembers the key, so no crash can part them; the proxy answers only
after the answer is stored under the same key. While a proxy works on a request it holds a claim, which it keeps alive;
whoever repeats the request after a proxy died takes the claim over and finds the unit paid. Without the ledger such a
request is refused before the model is asked.
"""

import asyncio
import hashlib
import hmac
import logging
import math
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from contracts.errors import FieldError, ModelportError, Permanent, Transient
from inference_proxy.bodies import InferRequest
from inference_proxy.ledger import Claimed, Identity
from inference_proxy.quota import Reservation, exceeded, month_allowance

HEADER = "idempotency-key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY = 255
CLAIM_S = 10.0
ANSWER_BYTES = 64 << 10
"""Of the usual 300 boxes and more. A longer answer is not kept: the same request is computed again, and not billed again."""
TRIES = 3

_log = logging.getLogger(__name__)


class AnswersPort(Protocol):
    """What is needed of the ledger; see `inference_proxy.ledger.Ledger`."""

    async def claim(self, identity: Identity, token: UUID, *, limit: int | None, claim_s: float) -> Claimed: ...

    async def keep(self, identity: Identity, token: UUID, answer: bytes | None, *, life_s: float) -> bool: ...

    async def give_up(self, identity: Identity, token: UUID) -> None: ...

    async def extend(self, tokens: Sequence[UUID], *, claim_s: float) -> None: ...


class Admitted(Protocol):
    """What a request was granted."""

    @property
    def month(self) -> Reservation: ...


class _Open(Struct, frozen=True):
    identity: Identity
    token: UUID


class Once:
    """The keyed requests of this proxy; `flush` keeps its claims alive."""

    def __init__(self, answers: AnswersPort, *, pepper: str, life_s: float) -> None:
        self._answers = answers
        self._pepper = pepper.encode()
        self._life_s = life_s
        self._open: dict[Reservation, _Open] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def identify(self, key: str, user_id: UUID, deployment_id: UUID, request: InferRequest) -> Identity:
        """What makes two requests the same; Permanent("invalid_request") for a key that is none."""
        if len(key) > MAX_KEY or not key.isprintable():
            message = f"must be 1 to {MAX_KEY} printable characters"
            fields = (FieldError("Idempotency-Key", message),)
            raise Permanent("invalid_request", f"Idempotency-Key {message}.", fields=fields)
        content = hashlib.sha256(msgspec.json.encode(request.thresholds))
        content.update(request.image)
        return Identity(
            user_id=user_id,
            deployment_id=deployment_id,
            key=hmac.digest(self._pepper, key.encode(), "sha256"),
            request=content.digest(),
        )

    async def claim(self, identity: Identity, limit: int | None) -> Reservation:
        """Take the unit, or find it taken and maybe the answer.

        Permanent: quota_exceeded, idempotency_mismatch. Transient: idempotency_in_flight, unavailable without the ledger.
        """
        token = uuid4()
        found = await self._answers.claim(identity, token, limit=limit, claim_s=CLAIM_S)
        allowance = (
            month_allowance(limit, found.remaining or 0, found.month, found.left_s) if limit is not None else None
        )
        if found.outcome == "mismatch":
            raise Permanent("idempotency_mismatch", "This Idempotency-Key was used with another body.")
        if found.outcome == "running":
            sentence = "The first request with this Idempotency-Key is still running."
            raise Transient("idempotency_in_flight", sentence, headers={"Retry-After": str(math.ceil(found.wait_s))})
        if found.outcome == "exhausted" and allowance is not None:
            raise exceeded(allowance)
        if found.outcome in ("kept", "again"):
            earlier = Reservation(allowance, lambda answered: None)
            earlier.kept = found.answer or b""
            return earlier
        claim = Reservation(allowance, lambda answered: self._close(claim, answered=answered))
        self._open[claim] = _Open(identity, token)
        return claim

    async def keep(self, claim: Reservation, answer: bytes) -> None:
        """Store the answer, before it is told to anybody; Transient if that fails, and then it is told to nobody."""
        mine = self._open.get(claim)
        if mine is None:
            return
        stored = answer if len(answer) <= ANSWER_BYTES else None
        for attempt in range(1, TRIES + 1):
            try:
                is_mine = await self._answers.keep(mine.identity, mine.token, stored, life_s=self._life_s)
            except Transient:
                if attempt == TRIES:
                    raise
                await asyncio.sleep(0.1 * attempt)
            else:
                if not is_mine:
                    sentence = "Another proxy has taken this request over."
                    raise Transient("idempotency_in_flight", sentence, headers={"Retry-After": "1"})
                return

    async def release(self, admission: "asyncio.Task[Admitted]") -> None:
        """Give an unanswered request's unit back now, so that its repetition need not wait; nothing if it was answered."""
        if admission.done() and not admission.cancelled() and admission.exception() is None:
            mine = self._open.pop(admission.result().month, None)
            if mine is not None:
                await self._give_up(mine)

    async def flush(self) -> None:
        """Keep the claims of running requests alive."""
        if self._open:
            await self._answers.extend([mine.token for mine in self._open.values()], claim_s=CLAIM_S)

    def _close(self, claim: Reservation, *, answered: bool) -> None:
        mine = self._open.pop(claim, None)
        if mine is not None and not answered:
            task = asyncio.create_task(self._give_up(mine))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _give_up(self, mine: _Open) -> None:
        try:
            await self._answers.give_up(mine.identity, mine.token)
        except ModelportError as error:
            _log.warning("a unit returns only when its claim ends: %s", error)
