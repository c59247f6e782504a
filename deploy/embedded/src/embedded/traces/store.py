"""Spans in one SQLite file."""

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

KEEP_DAYS = 14
SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_by_start ON spans (start_ns);
"""

Value = str | int | float | bool


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened during a span."""

    name: str
    time_ns: int
    attributes: dict[str, Value]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span with its resource; ids in lower-case hex, an empty `parent_id` marks a root, times in Unix nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    resource: dict[str, Value]
    events: tuple[SpanEvent, ...] = ()
    is_error: bool = False
    status_message: str = ""


class SpanStore:
    """A span sent twice is kept once; spans older than two weeks go when the store opens."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(SCHEMA)
        oldest = time.time_ns() - KEEP_DAYS * 86_400 * 1_000_000_000
        with self._database:
            self._database.execute("DELETE FROM spans WHERE start_ns < ?", (oldest,))

    def put(self, spans: Iterable[Span]) -> None:
        rows = [(span.trace_id, span.span_id, span.start_ns, msgspec.json.encode(span)) for span in spans]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?)", rows)

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace in order of their start; empty where it is unknown."""
        rows = self._database.execute("SELECT body FROM spans WHERE trace_id = ? ORDER BY start_ns", (trace_id,))
        return [msgspec.json.decode(body, type=Span) for (body,) in rows]

    def close(self) -> None:
        self._database.close()
