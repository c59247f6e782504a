"""The deployment's state machine: commands and facts in any order keep to the owner's last wish."""

from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from contracts.errors import ErrorInfo, ModelportError, Permanent
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentScaledV1,
)
from contracts.events.deployment import Access
from contracts.vocabulary import DeploymentStage, DeploymentStatus, DeploymentType, DesiredState, Tier
from gateway.deployment import COMMANDS, Command, DeploymentState, apply, command
from gateway.testing.facts import metadata

TARGET = UUID(int=7)
ACCESS = Access(user_id=uuid4(), tier=Tier.PRO, key_digests=("digest",))
ERROR = ErrorInfo.of(Permanent("deployment_failed", "the model is not readable"))


def activated(generation: int) -> DeploymentActivatedV1:
    return DeploymentActivatedV1(
        deployment_id=TARGET,
        generation=generation,
        deployment_type=DeploymentType.PLATFORM_ENDPOINT,
        triton_model="d-7",
        model_version=1,
        metadata=metadata(TARGET),
        access=ACCESS,
    )


def failed(generation: int) -> DeploymentFailedV1:
    return DeploymentFailedV1(deployment_id=TARGET, generation=generation, error=ERROR)


def deactivated(generation: int) -> DeploymentDeactivatedV1:
    return DeploymentDeactivatedV1(deployment_id=TARGET, generation=generation)


def scaled(generation: int) -> DeploymentScaledV1:
    return DeploymentScaledV1(deployment_id=TARGET, generation=generation, replicas=3)


def progressed(generation: int) -> DeploymentProgressedV1:
    return DeploymentProgressedV1(
        deployment_id=TARGET, generation=generation, stage=DeploymentStage.BUILD, percent=40, message="building"
    )


FACTS = (activated, failed, deactivated, scaled, progressed)


class AnyLife(RuleBasedStateMachine):
    """An owner's commands among facts of every generation so far, late and repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.state = DeploymentState()

    @rule(fact=st.sampled_from(FACTS), data=st.data())
    def hear(self, fact: object, data: st.DataObject) -> None:
        generation = data.draw(st.integers(1, self.state.generation))
        before = self.state
        self.state = apply(before, fact(generation))  # one of the makers above
        if generation < before.generation:
            assert self.state is before, "an answer to an older wish has an effect"
        assert apply(self.state, fact(generation)) is self.state, "a repeated fact has an effect"

    @rule(asked=st.sampled_from(Command))
    def ask(self, asked: Command) -> None:
        before = self.state
        if (before.status, asked) not in COMMANDS or before.desired is DesiredState.DELETED:
            with pytest.raises(Permanent, match="cannot be"):
                command(before, asked)
            return
        self.state = command(before, asked)
        assert self.state.generation == before.generation + 1
        assert self.state.revision > before.revision

    @invariant()
    def nothing_serves_against_the_owners_wish(self) -> None:
        state = self.state
        if state.desired is not DesiredState.ACTIVE:
            assert state.status is DeploymentStatus.INACTIVE
            assert not state.is_serving
        else:
            assert state.status is not DeploymentStatus.INACTIVE

    @invariant()
    def only_answered_wishes_count_as_answered(self) -> None:
        assert self.state.observed_generation <= self.state.generation
        if self.state.status is DeploymentStatus.ACTIVE:
            assert self.state.observed_generation == self.state.generation


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_a_late_failure_of_the_same_generation_does_not_undo_an_activation() -> None:
    state = apply(apply(DeploymentState(), activated(1)), failed(1))
    assert state.status is DeploymentStatus.ACTIVE
    assert state.error is None


def test_a_failure_can_still_turn_into_an_activation() -> None:
    broken = apply(DeploymentState(), failed(1))
    assert (broken.status, broken.error) == (DeploymentStatus.FAILED, ERROR)
    assert apply(broken, activated(1)).status is DeploymentStatus.ACTIVE


def test_a_failure_stated_again_is_an_answer() -> None:
    """After the bus has lost its messages every wish is stated anew, also that of a deployment that had failed."""
    asked_again = replace(apply(DeploymentState(), failed(1)), observed_generation=0)
    answered = apply(asked_again, failed(1))
    assert (answered.status, answered.observed_generation) == (DeploymentStatus.FAILED, 1)


def test_a_deleted_deployment_takes_no_command() -> None:
    deleted = command(DeploymentState(), Command.DELETE)
    for asked in Command:
        with pytest.raises(ModelportError):
            command(deleted, asked)


def test_instant_deployments_are_answered_at_once() -> None:
    active = DeploymentState(status=DeploymentStatus.ACTIVE, observed_generation=1)
    off = command(active, Command.DEACTIVATE, instant=True)
    assert (off.status, off.observed_generation) == (DeploymentStatus.INACTIVE, 2)
    on = command(off, Command.REACTIVATE, instant=True)
    assert (on.status, on.observed_generation) == (DeploymentStatus.ACTIVE, 3)


def test_progress_only_grows_and_ends_with_the_package():
    later = replace(progressed(1), stage=DeploymentStage.UPLOAD, percent=70.0)
    state = apply(apply(DeploymentState(), later), progressed(1))
    assert (state.status, state.stage, state.progress_percent) == (DeploymentStatus.DEPLOYING, "upload", 70.0)
    done = apply(state, activated(1))
    assert (done.stage, done.progress_percent) == (None, 100.0)
    assert apply(done, later) is done
    again = command(command(done, Command.DEACTIVATE), Command.REACTIVATE)
    assert again.progress_percent == 0.0
    assert apply(again, later) is again, "of an older generation"
