"""Repairs what the bus or a worker has lost: PostgreSQL is the truth, the bus is transport.

Requests without an answer are published again under a new message id (workers and the deployer are idempotent), runs out of
time are ended, and after the loss of a stream everything that is still wanted is stated anew.
"""

import asyncio
import logging

from msgspec import to_builtins

from contracts.errors import ErrorInfo, Permanent
from contracts.events import ExportCancelledV1, ExportFailedV1
from contracts.vocabulary import DeploymentType, ExportStatus
from gateway import deployment, export_job, losses
from gateway.deployment_requests import state_access, state_wish
from gateway.parts import SERVICE, Parts
from gateway.reactions import append
from gateway.requests import release_exports
from gateway.store import accounts, deployments, idempotency, jobs, overdue, preflights
from gateway.store.deployments import DeploymentRow
from gateway.store.jobs import JobRow
from servicekit import inbox
from servicekit.outbox import put_event
from servicekit.postgres import Connection, transaction
from servicekit.telemetry import extract

PRUNE_EVERY = 100

_log = logging.getLogger(__name__)


class Reconciler:
    """Any number of replicas may run: each row is taken by one of them at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rounds = 0

    async def run(self) -> None:
        """Repair until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(self._parts.settings.reconcile_interval_s)

    async def once(self) -> None:
        """One round of everything."""
        await losses.notice(self._parts)
        await self.expire_jobs()
        await self.release_jobs()
        await self.republish_jobs()
        await self.expire_deployments()
        await self.restate_deployments()
        await self.expire_preflights()
        if self._rounds % PRUNE_EVERY == 0:
            await self.prune()
        self._rounds += 1

    async def release_jobs(self) -> int:
        """Ask for the jobs whose turn it is, where whatever ended the ones before them could not; how many."""
        async with transaction(self._parts.pool) as conn:
            return await release_exports(conn, self._parts.settings.exports_ahead)

    async def expire_deployments(self) -> int:
        """Show as failed what nobody has deployed for too long; the wish is stated again all the same. How many."""
        async with transaction(self._parts.pool) as conn:
            late = await overdue.unanswered_deployments(conn, self._parts.settings.deploy_limit_s)
            for deployment_id in late:
                row = await deployments.lock(conn, deployment_id)
                if row is None:
                    continue
                error = _unanswered(row)
                after = deployment.overdue(row.state, error)
                await deployments.save(conn, row.id, after)
                data = {"error": to_builtins(error)}
                await deployments.add_history(
                    conn, row.id, "failed", before=row.state.status, after=after.status, data=data
                )
                _log.warning("deployment %s: %s", row.id, error.message)
        return len(late)

    async def republish_jobs(self) -> int:
        """State again the pending requests that nobody has answered; how many."""
        async with transaction(self._parts.pool) as conn:
            due = await overdue.due_jobs(conn, self._parts.settings.republish_after_s)
            for item in due:
                context = extract({"traceparent": item.traceparent})
                with self._parts.telemetry.span("republish export", context=context, requests=item.requests):
                    job_id = item.request.job_id
                    await put_event(conn, item.request, subject_id=job_id, source=SERVICE, sequence=item.requests)
                _log.info("export %s is requested for the %d. time", job_id, item.requests)
        return len(due)

    async def expire_jobs(self) -> int:
        """End the jobs whose time has run out, and stop whoever still works on them; how many."""
        settings = self._parts.settings
        limits = overdue.Limits(
            pending_s=settings.pending_limit_s, silence_s=settings.silence_limit_s, grace_s=settings.attempt_grace_s
        )
        async with transaction(self._parts.pool) as conn:
            expired = await overdue.expired_jobs(conn, limits)
            for job_id in expired:
                row = await jobs.lock(conn, job_id)
                if row is not None:
                    await self._expire(conn, row)
        return len(expired)

    async def _expire(self, conn: Connection, row: JobRow) -> None:
        error = _out_of_time(row)
        after = export_job.expire(row.state, error)
        if after is row.state:
            return
        await jobs.save(conn, row.id, after)
        await append(conn, row, after, "failed")
        with self._parts.telemetry.span("expire export", context=extract({"traceparent": row.traceparent})):
            failed = ExportFailedV1(job_id=row.id, attempt=row.state.attempt, error=error)
            for event in (failed, ExportCancelledV1(job_id=row.id)):
                await put_event(conn, event, subject_id=row.id, source=SERVICE, sequence="expired")
        _log.warning("export %s: %s", row.id, error.message)

    async def restate_deployments(self) -> int:
        """State again the wishes that deployer and packager have not answered; how many."""
        async with transaction(self._parts.pool) as conn:
            due = await overdue.due_deployments(conn, self._parts.settings.republish_after_s)
            for deployment_id in due:
                row = await deployments.lock(conn, deployment_id)
                user = await accounts.user(conn, row.user_id) if row else None
                if row is None or user is None:
                    continue
                with self._parts.telemetry.span(
                    "restate deployment", context=extract({"traceparent": row.traceparent})
                ):
                    await state_wish(conn, row, user.tier, publication=row.requests)
                    await state_access(conn, row, user.tier)
                _log.info("deployment %s is requested for the %d. time", row.id, row.requests)
        return len(due)

    async def expire_preflights(self) -> int:
        """Answer the preflights that no worker has answered; how many."""
        error = ErrorInfo.of(Permanent("deadline_exceeded", "No worker has looked at the checkpoint for too long."))
        async with transaction(self._parts.pool) as conn:
            return len(await preflights.expire(conn, self._parts.settings.preflight_limit_s, error))

    async def prune(self) -> None:
        """Forget what no retry can need any more."""
        async with transaction(self._parts.pool) as conn:
            await idempotency.prune(conn, self._parts.settings.idempotency_ttl_s)
            await jobs.prune_progress(conn, self._parts.settings.progress_ttl_s)
            await preflights.prune(conn, self._parts.settings.preflight_keep_s)
        await inbox.prune(self._parts.pool)


def _unanswered(row: DeploymentRow) -> ErrorInfo:
    is_endpoint = row.deployment_type is DeploymentType.PLATFORM_ENDPOINT
    sentence = f"No {'deployer' if is_endpoint else 'packager'} has answered for too long."
    return ErrorInfo.of(Permanent("deadline_exceeded", sentence), stage="deploy" if is_endpoint else "package")


def _out_of_time(row: JobRow) -> ErrorInfo:
    if row.state.status is ExportStatus.PENDING:
        sentence = f"No worker has taken the job; nobody makes {row.export_format} from {row.framework} models now."
    else:
        sentence = f"The job got stuck in the stage {row.state.stage} and was given up."
    return ErrorInfo.of(Permanent("deadline_exceeded", sentence), stage=str(row.state.stage or ""))
