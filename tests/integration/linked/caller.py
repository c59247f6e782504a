"""Somebody who calls an endpoint all the time, each call once, and keeps what came back."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from modelport.errors import ApiError, ClientError
from modelport.inference import Endpoint

PAUSE_S = 0.1
REFUSED = 503


@dataclass
class Calls:
    """How many were answered and how many refused with 503, in seconds the longest time without an answer, and what must not be."""

    answered: int = 0
    refused: int = 0
    longest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    _well_at: float = field(default_factory=time.monotonic)

    def add(self, error: ClientError | None) -> None:
        if error is None:
            now = time.monotonic()
            self.longest_s, self._well_at = max(self.longest_s, now - self._well_at), now
            self.answered += 1
        elif isinstance(error, ApiError) and error.status == REFUSED:
            self.refused += 1
        else:
            self.wrong.append(f"{getattr(error, 'status', '')} {error}")


@contextmanager
def calling(proxy_url: str, deployment_id: UUID, key: str, picture: Path) -> Iterator[Calls]:
    """For the length of the block."""
    endpoint = Endpoint(proxy_url, deployment_id, key, attempts=1)
    calls, is_over = Calls(), threading.Event()

    def call() -> None:
        while not is_over.wait(PAUSE_S):
            try:
                endpoint.infer(picture)
            except ClientError as error:
                calls.add(error)
            else:
                calls.add(None)

    thread = threading.Thread(target=call, name="caller")
    thread.start()
    try:
        yield calls
    finally:
        is_over.set()
        thread.join()
        endpoint.close()
