"""Large files sent in parts, of which a bounded number is in memory however many files are sent side by side."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, BinaryIO

from servicekit.tasks import end

PART_BYTES = 8 << 20
PART_CONCURRENCY = 4

Parts = list[dict[str, Any]]
"""What completes an upload: number and ETag of each part."""
_Tasks = list[asyncio.Task[dict[str, Any]]]


class PartSender:
    """The parts of all uploads of one store."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(PART_CONCURRENCY)

    async def send(self, client: Any, target: dict[str, str], file: BinaryIO) -> tuple[str, Parts]:
        """Read the file once to its end; the SHA-256 of its bytes, in hex, and its parts."""
        digest = hashlib.sha256()

        async def put(number: int, data: bytes) -> dict[str, Any]:
            answer = await client.upload_part(**target, PartNumber=number, Body=data)
            return {"PartNumber": number, "ETag": answer["ETag"]}

        def take() -> bytes:
            data = file.read(PART_BYTES)
            digest.update(data)
            return data

        tasks: _Tasks = []
        try:
            while data := await self._room_for(take):
                tasks.append(asyncio.create_task(put(len(tasks) + 1, data)))
                tasks[-1].add_done_callback(lambda _: self._room.release())
                if failed := next((t for t in tasks if t.done() and t.exception()), None):
                    failed.result()
            return digest.hexdigest(), await asyncio.gather(*tasks)
        finally:
            await end(*tasks)

    async def _room_for(self, take: Callable[[], bytes]) -> bytes:
        """The next part, once fewer than the most are held; whoever has sent it gives its room back. Nothing at the end."""
        await self._room.acquire()
        data = b""
        try:
            data = await asyncio.to_thread(take)
        finally:
            if not data:
                self._room.release()
        return data
