"""The export job's state machine: any interleaving and duplication of facts ends in one terminal state."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts.errors import ErrorInfo
from contracts.events import ExportCancelledV1, ExportFailedV1, ExportRequestedV1, PackageBuiltV1
from contracts.export_options import OnnxOptions
from contracts.vocabulary import ExportFormat, ExportStage, ExportStatus, Framework, Proof, TaskType
from gateway.export_job import OPEN, STAGES, TERMINAL, TRANSITIONS, Fact, JobState, apply, expire
from gateway.testing.facts import Worker

JOB = UUID(int=1)
REQUEST = ExportRequestedV1(
    job_id=JOB,
    user_id=uuid4(),
    training_job_id=uuid4(),
    version=1,
    framework=Framework.ULTRALYTICS,
    task_type=TaskType.OBJECT_DETECTION,
    model_name="shapes",
    checkpoint_path="s3://bucket/key",
    checkpoint_max_bytes=1,
    export_format=ExportFormat.ONNX,
    options=OnnxOptions(),
)
WORKER = Worker(REQUEST)
CANCELLED = ExportCancelledV1(job_id=JOB)

attempts = st.integers(1, 3)
facts = st.one_of(
    st.builds(WORKER.progressed, attempts, st.sampled_from(STAGES), st.floats(0, 89)),
    st.builds(WORKER.exported, attempts),
    st.builds(WORKER.built, attempts),
    st.builds(WORKER.failed, st.integers(0, 3), stage=st.sampled_from(["convert", "package"])),
    st.just(CANCELLED),
)


def is_of_packager(fact: Fact) -> bool:
    return isinstance(fact, PackageBuiltV1) or (isinstance(fact, ExportFailedV1) and fact.error.stage == "package")


def fold(sequence: list[Fact]) -> JobState:
    job = JobState()
    for fact in sequence:
        job = apply(job, fact)
    return job


def test_the_table_covers_every_open_state_and_no_terminal_one() -> None:
    kinds = {kind for _, kind in TRANSITIONS}
    assert {(status, kind) for status in OPEN for kind in kinds} == set(TRANSITIONS)
    assert set(TRANSITIONS.values()) == {ExportStatus.RUNNING, *TERMINAL}


class AnyStory(RuleBasedStateMachine):
    """Facts of up to three attempts in any order, each any number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.job = JobState()
        self.ended: JobState | None = None
        self.told: list[Fact] = []

    @rule(fact=facts)
    def state(self, fact: Fact) -> None:
        before, self.job = self.job, apply(self.job, fact)
        self.told.append(fact)
        attempt = getattr(fact, "attempt", None)
        if attempt is not None and attempt < before.attempt and not is_of_packager(fact):
            assert self.job is before, "a worker's older attempt has an effect"

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        if self.told:
            self.state(data.draw(st.sampled_from(self.told)))

    @rule()
    def time_runs_out(self) -> None:
        self.job = expire(self.job, ErrorInfo(code="deadline_exceeded", message="too late"))

    @invariant()
    def the_end_is_the_end(self) -> None:
        if self.ended is not None:
            assert self.job is self.ended
        if self.job.is_terminal:
            self.ended = self.job

    @invariant()
    def what_is_said_fits_the_status(self) -> None:
        job = self.job
        assert 0 <= job.progress_percent <= 100
        assert (job.status is ExportStatus.COMPLETED) == (job.package is not None)
        assert (job.error is not None) == (job.status is ExportStatus.FAILED)
        if job.status is ExportStatus.PENDING:
            assert job == JobState()


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)


@settings(max_examples=300, deadline=None)
@given(st.permutations([0, 0, 1, 1, 2, 2, 3, 3]))
def test_one_successful_attempt_completes_in_any_order(order: list[int]) -> None:
    story = WORKER.story(1)
    job = fold([story[index] for index in order])
    assert job.status is ExportStatus.COMPLETED
    assert job.progress_percent == 100
    assert job.proof is Proof.VERIFIED
    assert job.package is not None


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(6)))
def test_a_paused_worker_does_not_write_over_its_successor(order: list[int]) -> None:
    """Attempt 1 wakes up at any moment after attempt 2 was heard of."""
    late: list[Fact] = [WORKER.progressed(1, ExportStage.VERIFY, 80), WORKER.exported(1), WORKER.failed(1)]
    run: list[Fact] = [WORKER.progressed(2, ExportStage.FETCH, 1), WORKER.exported(2), WORKER.built(2)]
    mixed = [(late + run)[index] for index in order]
    job = fold([WORKER.progressed(2, ExportStage.FETCH, 0.5), *mixed])
    assert job.status is ExportStatus.COMPLETED
    assert job.attempt == 2


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(4)))
def test_the_first_package_stands_whatever_a_second_attempt_goes_on_to_do(order: list[int]) -> None:
    """Attempt 1's worker died after it had stated its model; attempt 2 runs while the packager builds attempt 1's."""
    facts = [WORKER.exported(1), WORKER.progressed(2, ExportStage.LOAD, 9), WORKER.exported(2), WORKER.built(1)]
    job = fold([facts[index] for index in order])
    built = WORKER.built(1)
    assert job.status is ExportStatus.COMPLETED
    assert (job.attempt, job.package, job.model) == (1, built.package, built.model)
    assert job.log in (None, WORKER.exported(1).log), "nothing of the attempt that was dropped"


def test_a_package_that_cannot_be_built_ends_the_job_in_any_attempt() -> None:
    job = fold([WORKER.exported(1), WORKER.exported(2), WORKER.failed(1, "packaging_failed", stage="package")])
    assert job.status is ExportStatus.FAILED
    assert job.error is not None
    assert job.error.code == "packaging_failed"


def test_progress_never_goes_back_within_an_attempt() -> None:
    job = fold([WORKER.progressed(1, ExportStage.CONVERT, 40), WORKER.progressed(1, ExportStage.LOAD, 20)])
    assert (job.stage, job.progress_percent) == (ExportStage.CONVERT, 40)


def test_a_new_attempt_starts_from_nothing() -> None:
    job = fold([WORKER.exported(1), WORKER.progressed(2, ExportStage.FETCH, 1)])
    assert (job.stage, job.progress_percent, job.attempt) == (ExportStage.FETCH, 1, 2)
    assert job.model is None
    assert job.proof is None


@pytest.mark.parametrize("status", TERMINAL)
def test_expiry_leaves_what_is_over(status: ExportStatus) -> None:
    job = JobState(status=status)
    assert expire(job, ErrorInfo(code="deadline_exceeded", message="late")) is job
