"""The life of a deployment: commands say what should be, facts say what is; pure tables, no I/O."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from contracts.errors import ErrorInfo, Permanent
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentRequestedV1,
    DeploymentScaledV1,
)
from contracts.keys import ObjectRef
from contracts.vocabulary import DeploymentStage, DeploymentStatus, DesiredState

Fact = (
    DeploymentRequestedV1
    | DeploymentProgressedV1
    | DeploymentActivatedV1
    | DeploymentScaledV1
    | DeploymentDeactivatedV1
    | DeploymentFailedV1
)

PENDING, DEPLOYING, ACTIVE = DeploymentStatus.PENDING, DeploymentStatus.DEPLOYING, DeploymentStatus.ACTIVE
INACTIVE, FAILED = DeploymentStatus.INACTIVE, DeploymentStatus.FAILED


class Command(StrEnum):
    """What an owner can ask of a deployment that exists."""

    DEACTIVATE = "deactivate"
    REACTIVATE = "reactivate"
    DELETE = "delete"


TRANSITIONS: Mapping[tuple[DeploymentStatus, type[Fact]], DeploymentStatus] = {
    (PENDING, DeploymentRequestedV1): DEPLOYING,
    (PENDING, DeploymentProgressedV1): DEPLOYING,
    (DEPLOYING, DeploymentProgressedV1): DEPLOYING,
    (PENDING, DeploymentActivatedV1): ACTIVE,
    (PENDING, DeploymentFailedV1): FAILED,
    (DEPLOYING, DeploymentActivatedV1): ACTIVE,
    (DEPLOYING, DeploymentFailedV1): FAILED,
    (FAILED, DeploymentActivatedV1): ACTIVE,
    (FAILED, DeploymentFailedV1): FAILED,
    (ACTIVE, DeploymentActivatedV1): ACTIVE,
    (ACTIVE, DeploymentFailedV1): FAILED,
    (ACTIVE, DeploymentScaledV1): ACTIVE,
    (INACTIVE, DeploymentDeactivatedV1): INACTIVE,
    (INACTIVE, DeploymentFailedV1): INACTIVE,
}

COMMANDS: Mapping[tuple[DeploymentStatus, Command], DeploymentStatus] = {
    (PENDING, Command.DEACTIVATE): INACTIVE,
    (DEPLOYING, Command.DEACTIVATE): INACTIVE,
    (ACTIVE, Command.DEACTIVATE): INACTIVE,
    (FAILED, Command.DEACTIVATE): INACTIVE,
    (INACTIVE, Command.REACTIVATE): DEPLOYING,
    (FAILED, Command.REACTIVATE): DEPLOYING,
    **{(status, Command.DELETE): INACTIVE for status in DeploymentStatus},
}

DESIRED: Mapping[Command, DesiredState] = {
    Command.DEACTIVATE: DesiredState.INACTIVE,
    Command.REACTIVATE: DesiredState.ACTIVE,
    Command.DELETE: DesiredState.DELETED,
}


class DeploymentState(Struct, frozen=True, kw_only=True):
    """`generation` counts what was asked for, `observed_generation` is the newest one a fact has answered.

    `package` is the zip of an edge or container package, as it was built last; `stage`, `progress_percent` and `message` say how far
    the next one is.
    """

    status: DeploymentStatus = PENDING
    desired: DesiredState = DesiredState.ACTIVE
    generation: int = 1
    observed_generation: int = 0
    revision: int = 1
    replicas: int = 1
    error: ErrorInfo | None = None
    package: ObjectRef | None = None
    stage: DeploymentStage | None = None
    progress_percent: float = 0.0
    message: str = ""

    @property
    def is_serving(self) -> bool:
        """Whether proxies may answer calls, as far as the owner is concerned."""
        return self.desired is DesiredState.ACTIVE


def apply(deployment: DeploymentState, fact: Fact) -> DeploymentState:
    """The deployment after a fact; the very same object where the fact changes nothing.

    Only facts of the present generation count: what answers an older wish says nothing of this one. Where an activation has
    answered already, a failure that overtook or trails it is history only; asked anew after a loss, it is the answer.
    """
    status = TRANSITIONS.get((deployment.status, type(fact)))
    if status is None or fact.generation != deployment.generation:
        return deployment
    is_answered = deployment.observed_generation == deployment.generation
    if isinstance(fact, DeploymentFailedV1) and deployment.status is ACTIVE and is_answered:
        return deployment
    after = replace(deployment, status=status)
    match fact:
        case DeploymentProgressedV1() if fact.percent > deployment.progress_percent:
            after = replace(after, stage=fact.stage, progress_percent=fact.percent, message=fact.message)
        case DeploymentActivatedV1():
            after = replace(after, observed_generation=fact.generation, error=None, package=fact.package)
            after = replace(after, stage=None, progress_percent=100.0, message="")
        case DeploymentDeactivatedV1():
            after = replace(after, observed_generation=fact.generation, error=None)
        case DeploymentFailedV1():
            after = replace(after, observed_generation=fact.generation, error=fact.error)
        case DeploymentScaledV1():
            after = replace(after, replicas=fact.replicas)
        case _:
            pass
    return deployment if after == deployment else after


def overdue(deployment: DeploymentState, error: ErrorInfo) -> DeploymentState:
    """The deployment after nobody has answered for too long; the wish stands, and a late answer still counts."""
    if deployment.status not in (PENDING, DEPLOYING):
        return deployment
    return replace(deployment, status=FAILED, error=error)


def command(deployment: DeploymentState, asked: Command, *, instant: bool = False) -> DeploymentState:
    """The deployment after an owner's command, one generation and revision further; Permanent("conflict") where it makes no sense.

    `instant`: nothing has to be deployed (downloads), so what is asked for is so at once.
    """
    status = COMMANDS.get((deployment.status, asked))
    if status is None or deployment.desired is DesiredState.DELETED:
        raise Permanent("conflict", f"A deployment that is {deployment.status} cannot be {asked}d.")
    generation = deployment.generation + 1
    return replace(
        deployment,
        status=ACTIVE if instant and status is DEPLOYING else status,
        desired=DESIRED[asked],
        generation=generation,
        observed_generation=generation if instant else deployment.observed_generation,
        revision=deployment.revision + 1,
        error=None,
        stage=None,
        progress_percent=100.0 if instant and status is DEPLOYING else 0.0,
        message="",
    )
