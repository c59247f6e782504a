"""What must hold at every commit, at every fact that a proxy has read, and at the end."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from contracts.events.deployment import DeploymentActivatedV1, DeploymentDeactivatedV1, DeploymentUpdatedV1
from contracts.keys import triton_model_name
from contracts.vocabulary import DeploymentStatus, DesiredState, ExportStatus
from gateway.export_job import TERMINAL, JobState
from inference_proxy.routes import RouteTable

if TYPE_CHECKING:
    from .tables import Job, State
    from .world import World

ENDS = {"completed", "failed", "cancelled"}


class Promises:
    """`acknowledged` holds the jobs that a user was told to exist, `trainings` those that the bus has taken."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.broken: list[str] = []
        self.acknowledged: list[UUID] = []
        self.trainings: list[UUID] = []
        self.billed: Counter[UUID] = Counter()

    def on_commit(self, before: "State", after: "State") -> None:
        for job_id, job in after.jobs.items():
            known = before.jobs.get(job_id)
            if known is not job:
                self._tell(known.row.state if known else None, job)
                self._follows(known, job)
        for at, deployment in after.deployments.items():
            if before.deployments.get(at) is not deployment:
                state = deployment.row.state
                told = f"generation {state.generation}/{state.observed_generation} revision {state.revision}"
                self._world.tell(f"deployment {str(at)[:8]} {state.status} (wanted: {state.desired}) {told}")
        for training_id in after.trainings:
            self._numbered(training_id, after)

    def _tell(self, was: "JobState | None", job: "Job") -> None:
        state = job.row.state
        if was is None or (was.status, was.stage, was.attempt) != (state.status, state.stage, state.attempt):
            self._world.tell(f"job {str(job.row.id)[:8]} {state.status} attempt {state.attempt} {state.stage or ''}")

    def _follows(self, known: "Job | None", job: "Job") -> None:
        state = job.row.state
        if known is not None:
            was = known.row.state
            self.check(was.status not in TERMINAL or state == was, f"job {job.row.id} left {was.status}")
            of_packager = state.package is not None or (state.error is not None and state.error.stage == "package")
            is_newer = state.attempt >= was.attempt or of_packager
            self.check(is_newer, f"job {job.row.id}: attempt {state.attempt} overrode {was.attempt}")
        self.check(sum(name in ENDS for name in job.events) <= 1, f"job {job.row.id} ended twice: {job.events}")
        if state.status is ExportStatus.COMPLETED:
            self._has_its_package(job)

    def _has_its_package(self, job: "Job") -> None:
        package = job.row.state.package
        self.check(package is not None, f"job {job.row.id} is completed without a package")
        assert package is not None
        stored = self._world.objects.get(package.key)
        self.check(
            stored == package.sha256, f"job {job.row.id}: {package.key} holds attempt {stored}, not {package.sha256}"
        )

    def _numbered(self, training_id: UUID, after: "State") -> None:
        rows = [job.row for job in after.jobs.values() if job.row.training_job_id == training_id]
        self.check(
            sorted(row.version for row in rows) == list(range(1, len(rows) + 1)), "versions have gaps or doubles"
        )
        defaults = [row for row in rows if row.is_default]
        self.check(len(defaults) <= 1, f"training {training_id} has {len(defaults)} defaults")
        self.check(all(row.state.status is ExportStatus.COMPLETED for row in defaults), "a default is not completed")

    def watch_routes(self, name: str, table: RouteTable) -> Callable[[Any], None]:
        """After each fact: access is that of the newest (generation, revision) read, and the deleted are gone."""
        newest: dict[UUID, tuple[tuple[int, int], bool, Any]] = {}
        deleted: set[UUID] = set()

        def look(fact: Any) -> None:
            at = fact.deployment_id
            match fact:
                case DeploymentUpdatedV1():
                    told = ((fact.generation, fact.revision), fact.serving, fact.access.key_digests)
                case DeploymentActivatedV1():
                    told = ((fact.generation, 0), True, fact.access.key_digests)
                case _:
                    told = ((0, 0), False, ())
            if isinstance(fact, DeploymentDeactivatedV1) and fact.deleted:
                deleted.add(at)
            newest[at] = max(newest.get(at, told), told, key=lambda one: one[0])
            route = table.get(at)
            if at in deleted:
                self.check(route is None, f"{name} serves {at}, which is deleted")
            elif route is not None and newest[at][0] > (0, 0):
                seen = (route.serving, route.access.key_digests)
                self.check(
                    seen == newest[at][1:], f"{name}: the route of {at} is not what revision {newest[at][0]} says"
                )

        return look

    def is_settled(self) -> bool:
        """Whether nothing is left to happen."""
        state = self._world.database.state
        jobs = all(job.row.state.status in TERMINAL for job in state.jobs.values())
        answered = all(
            known.row.state.observed_generation >= known.row.state.generation for known in state.deployments.values()
        )
        heard = all(training in state.trainings for training in self.trainings)
        return jobs and answered and heard and not state.outbox

    def at_the_end(self) -> None:
        state = self._world.database.state
        for job_id in self.acknowledged:
            self.check(job_id in state.jobs, f"job {job_id} was acknowledged and is lost")
        for job in state.jobs.values():
            self.check(job.row.state.status in TERMINAL, f"job {job.row.id} is {job.row.state.status} for ever")
            self.check(any(name in ENDS for name in job.events), f"job {job.row.id} ended without telling")
            if job.row.state.status is ExportStatus.COMPLETED:
                self._has_its_package(job)
        for training_id in self.trainings:
            made = [job for job in state.jobs.values() if job.row.training_job_id == training_id]
            self.check(len(made) == 1, f"training {training_id} of the bus has {len(made)} exports, it asked for one")
        for training_id in state.trainings:
            rows = [job.row for job in state.jobs.values() if job.row.training_job_id == training_id]
            has_success = any(row.state.status is ExportStatus.COMPLETED for row in rows)
            self.check(has_success == any(row.is_default for row in rows), "a success without a default")
        self.check(not state.outbox, f"{len(state.outbox)} events wait in the outbox for ever")
        self._deployments_are_what_was_asked_for()

    def _deployments_are_what_was_asked_for(self) -> None:
        for known in self._world.database.state.deployments.values():
            state, at = known.row.state, known.row.id
            name = triton_model_name(at)
            self.check(state.observed_generation == state.generation, f"nobody answers for deployment {at}")
            if state.desired is DesiredState.ACTIVE:
                wanted = DeploymentStatus.FAILED if self._world.is_unloadable(at) else DeploymentStatus.ACTIVE
            else:
                wanted = DeploymentStatus.INACTIVE
            self.check(state.status is wanted, f"deployment {at} is {state.status}, asked for was {state.desired}")
            is_up = wanted is DeploymentStatus.ACTIVE
            self.check(
                (name in self._world.loaded) == is_up, f"model of {at} loaded: {not is_up}, status {state.status}"
            )
            for proxy, table in self._world.tables.items():
                route = table.get(at)
                serves = route is not None and route.serving and route.model is not None
                self.check(serves == is_up, f"{proxy} serves {at}: {serves}, status {state.status}")
            self.check(
                known.row.request_count == self.billed[at],
                f"deployment {at}: {known.row.request_count} of {self.billed[at]} billed",
            )

    def check(self, holds: bool, otherwise: str) -> None:
        """A broken promise is kept, and told to nobody who could swallow it."""
        if not holds:
            self.broken.append(otherwise)
