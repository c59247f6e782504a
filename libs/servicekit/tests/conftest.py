"""Events that the tests send, and how they wait."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from contracts.events import ExportCancelledV1

PATIENCE_S = 20.0


def cancelled(job_id: UUID | None = None) -> ExportCancelledV1:
    """The smallest event there is."""
    return ExportCancelledV1(job_id=job_id or uuid4())


async def eventually(condition: Callable[[], bool | Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; fails the test when it never does."""
    async with asyncio.timeout(patience_s):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.02)
