"""What no service could handle, and trying it again; needs the admin scope."""

from collections.abc import Iterator
from uuid import uuid4

from modelport.models import DeadLetter, Page, Replayed
from modelport.paging import everything
from modelport.transport import IDEMPOTENCY_KEY, Transport

PATH = "/api/v1/dead-letters"


class DeadLetters:
    """/api/v1/dead-letters."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, limit: int | None = None) -> Iterator[DeadLetter]:
        """Newest first."""
        return everything(self._transport, PATH, Page[DeadLetter], limit=limit)

    def replay(self, sequence: int) -> Replayed:
        """Ask once more for the failed export or deployment, or deliver the message again; the letter leaves the list.

        ApiError `conflict` where it is not failed any more, `undecodable_event` for what nobody can ever handle.
        """
        headers = {IDEMPOTENCY_KEY: str(uuid4())}
        return self._transport.call("POST", f"{PATH}/{sequence}/replay", Replayed, headers=headers)
