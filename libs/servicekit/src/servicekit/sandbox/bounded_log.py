"""The log of one run: bounded on disk, the beginning and the end kept, readable while it grows."""

from collections import deque
from contextlib import suppress
from pathlib import Path


class BoundedLog:
    """Writes through to `path` until half of `limit` bytes, then keeps the last half in memory until `close`."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self._file = path.open("wb", buffering=0)
        self._room = limit // 2
        self._tail_limit = limit - limit // 2
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._dropped = 0

    def write(self, data: bytes) -> None:
        """Append raw output."""
        head, rest = data[: self._room], data[self._room :]
        if head:
            self._room -= len(head)
            self._append(head)
        if rest:
            self._keep(rest)

    def say(self, line: str) -> None:
        """Append one line of our own."""
        self.write(f"[run] {line}\n".encode())

    def close(self) -> None:
        """Write the kept end; idempotent."""
        if self._file.closed:
            return
        if self._dropped:
            self._append(f"\n[run] … {self._dropped} bytes of output left out here …\n".encode())
        self._append(b"".join(self._tail))
        self._file.close()

    def _append(self, data: bytes) -> None:
        """A full disk costs the rest of the log, not the job: the job's own writes will say so."""
        with suppress(OSError):
            self._file.write(data)

    def _keep(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size > self._tail_limit:
            excess = self._tail_size - self._tail_limit
            first = self._tail.popleft()
            if len(first) > excess:
                self._tail.appendleft(first[excess:])
            lost = min(excess, len(first))
            self._tail_size -= lost
            self._dropped += lost
