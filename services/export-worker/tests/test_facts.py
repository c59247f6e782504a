"""Progress is throttled, monotonic and harmless."""

import asyncio
from itertools import pairwise
from uuid import UUID

import pytest

from contracts.errors import ErrorInfo, Transient
from contracts.events import Event, ExportProgressedV1, ExportRequestedV1
from contracts.execution import ExportRun
from contracts.export_options import OnnxOptions
from contracts.vocabulary import ExportFormat, ExportStage, Framework, TaskType
from export_worker import facts
from export_worker.facts import SHARES, ProgressFeed, percent
from export_worker.sandbox.messages import Progress

RUN = ExportRun(
    request=ExportRequestedV1(
        job_id=UUID(int=1),
        user_id=UUID(int=1),
        training_job_id=UUID(int=1),
        version=1,
        framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet18",
        checkpoint_path="s3://vision-platform/x",
        checkpoint_max_bytes=1,
        export_format=ExportFormat.ONNX,
        options=OnnxOptions(),
    ),
    attempt=2,
    worker_id="w",
)


class RecordingBus:
    """Keeps what is published; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.facts: list[ExportProgressedV1] = []
        self.sequences: list[object] = []
        self._failures = failures

    async def publish(self, event: Event, *, subject_id: UUID, sequence: object) -> str:
        if self._failures:
            self._failures -= 1
            raise Transient("unavailable", "no")
        assert isinstance(event, ExportProgressedV1)
        self.facts.append(event)
        self.sequences.append(sequence)
        return ""


def feed_on(bus: RecordingBus) -> ProgressFeed:
    return ProgressFeed(bus, RUN)


def test_the_shares_cover_the_whole_job_without_gaps() -> None:
    bounds = list(SHARES.values())
    assert (bounds[0][0], bounds[-1][1]) == (0.0, 100.0)
    assert all(end == start for (_, end), (start, _) in pairwise(bounds))
    assert set(SHARES) == set(ExportStage)


@pytest.mark.parametrize(("fraction", "expected"), [(-1.0, 30.0), (0.0, 30.0), (0.5, 42.5), (1.0, 55.0), (9.0, 55.0)])
def test_percent_is_of_the_whole_job(fraction: float, expected: float) -> None:
    assert percent(ExportStage.CONVERT, fraction) == expected


async def test_each_stage_is_told_and_a_flood_is_not() -> None:
    bus = RecordingBus()
    feed = feed_on(bus)
    for stage in (ExportStage.LOAD, ExportStage.CONVERT, ExportStage.VERIFY):
        for step in range(1000):
            feed.at(stage, step / 1000, f"{stage} {step}")
        await asyncio.sleep(0.02)
    await feed.stop()
    assert [fact.stage for fact in bus.facts] == [ExportStage.LOAD, ExportStage.CONVERT, ExportStage.VERIFY]
    assert [fact.message for fact in bus.facts] == ["load 999", "convert 999", "verify 999"]
    assert bus.sequences == ["2/1", "2/2", "2/3"]


async def test_going_back_is_ignored() -> None:
    bus = RecordingBus()
    feed = feed_on(bus)
    feed.at(ExportStage.VERIFY, 0.5, "")
    await asyncio.sleep(0.02)
    feed.at(ExportStage.LOAD, 0.9, "")
    feed.at(ExportStage.VERIFY, 0.1, "")
    await asyncio.sleep(facts.PERIOD_S + 0.1)
    await feed.stop()
    assert [(fact.stage, fact.percent) for fact in bus.facts] == [(ExportStage.VERIFY, 70.0)] * 2


async def test_a_lost_word_is_no_error_and_text_is_cleaned() -> None:
    bus = RecordingBus(failures=1)
    feed = feed_on(bus)
    feed.at(ExportStage.LOAD, 0.0, "lost")
    await asyncio.sleep(0.02)
    feed.put(Progress(stage=ExportStage.CONVERT, message="\x1b" + "x" * 999))
    await asyncio.sleep(0.02)
    await feed.stop()
    assert [fact.message for fact in bus.facts] == ["x" * 300]


async def test_silence_is_broken_by_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "SILENCE_S", 0.05)
    monkeypatch.setattr(facts, "PERIOD_S", 0.0)
    bus = RecordingBus()
    feed = feed_on(bus)
    feed.at(ExportStage.LOAD, 0.5, "loading")
    await asyncio.sleep(0.3)
    await feed.stop()
    assert len(bus.facts) >= 3
    assert all(fact == bus.facts[0] for fact in bus.facts)


def test_a_failed_fact_carries_the_attempt() -> None:
    fact = facts.failed(RUN, ErrorInfo(code="internal", message="m"))
    assert (fact.attempt, fact.job_id, fact.log) == (2, UUID(int=1), None)


async def test_what_was_put_can_be_waited_for() -> None:
    bus = RecordingBus()
    feed = feed_on(bus)
    feed.at(ExportStage.FETCH, 0.0, "fetching")
    await feed.told(60)
    assert [fact.message for fact in bus.facts] == ["fetching"]
    await feed.stop()


async def test_a_bus_that_does_not_answer_holds_nobody_up() -> None:
    class Stuck(RecordingBus):
        async def publish(self, event: Event, *, subject_id: UUID, sequence: object) -> str:
            await released.wait()
            return ""

    released = asyncio.Event()
    feed = feed_on(Stuck())
    feed.at(ExportStage.FETCH, 0.0, "fetching")
    await feed.told(0.01)
    released.set()
    await feed.stop()
