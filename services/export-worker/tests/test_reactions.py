"""What the worker remembers of cancelled jobs."""

from typing import Any, cast
from uuid import uuid4

import pytest

from contracts.envelope import EventMeta
from contracts.events import ExportCancelledV1
from export_worker import reactions
from export_worker.reactions import KEEP_S, Exports


async def test_cancellations_are_forgotten_when_no_request_of_their_job_can_come_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(reactions.time, "monotonic", lambda: clock[0])
    exports = Exports(cast(Any, None), cast(Any, None), cast(Any, None), "worker")
    meta = cast(EventMeta, None)
    old, new = ExportCancelledV1(job_id=uuid4()), ExportCancelledV1(job_id=uuid4())
    await exports.on_export_cancelled(old, meta)
    clock[0] += KEEP_S - 1
    await exports.on_export_cancelled(new, meta)
    assert set(exports._cancelled) == {old.job_id, new.job_id}
    clock[0] += 2
    await exports.on_export_cancelled(new, meta)
    assert set(exports._cancelled) == {new.job_id}
