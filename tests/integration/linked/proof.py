"""The proof that a stack is well: a job runs to its package, a deployment comes up and answers, and nobody was started again."""

import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from contracts.vocabulary import ExportStatus
from modelport.models import ExportJob, TrainingJob
from tests.integration.chaos.load import insist
from tests.stack import Person

PATIENCE_S = 300.0


def request(someone: Person, training: TrainingJob) -> ExportJob:
    """Ask for an export until the gateway takes it."""
    return insist(someone.client.exports.create, training.id, "onnx")


def completed(someone: Person, job: ExportJob) -> ExportJob:
    """The job's end, which must be a package."""
    return ended(someone, job.id)


def ended(someone: Person, job_id: UUID) -> ExportJob:
    """Likewise, by its id."""
    found = insist(someone.client.exports.wait, job_id)
    assert found.status is ExportStatus.COMPLETED, found.error
    return found


def is_served(someone: Person, job: ExportJob, picture: Path) -> None:
    """A new deployment of the job comes up, answers, and goes."""
    deployments = someone.client.deployments
    made = insist(deployments.create, job.id, "platform_endpoint", "after a fault")
    active = insist(deployments.wait, made.id, timeout_s=PATIENCE_S)
    assert active.status == "active", active.error
    answers(someone, made.id, made.api_key, picture)
    insist(deployments.delete, made.id)


def answers(someone: Person, deployment_id: UUID, key: str, picture: Path) -> None:
    """An endpoint answers, rightly."""
    endpoint = someone.client.endpoint(deployment_id, key)
    answer = insist(endpoint.infer, picture)
    assert answer.predictions[0].class_name == "red"


def jobs_per_second(someone: Person, training: TrainingJob, count: int) -> float:
    """How quickly so many jobs, asked for together, have come to their packages."""
    began = time.monotonic()
    for job in [request(someone, training) for _ in range(count)]:
        completed(someone, job)
    return count / (time.monotonic() - began)


def best_of(windows: int, measure: Callable[[], float], enough: float) -> float:
    """The best of at most so many measurements, no more of them than it takes to be `enough`."""
    best = 0.0
    for _ in range(windows):
        best = max(best, measure())
        if best >= enough:
            break
    return best
