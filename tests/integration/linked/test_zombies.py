"""A worker or packager that is stopped past its lease and goes on when another has done its job: nothing of it counts."""

from contextlib import contextmanager

import pytest

from tests.integration.linked import proof
from tests.integration.linked.facts import Traces, are_settled, leases_of, traces
from tests.integration.nemeses import links, workers
from tests.stack import until

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900)]

AT_ONCE = 10
LIMIT_S = 300


def test_a_stopped_worker_writes_nothing_when_it_goes_on(linked, someone, training_of, figure, trials):
    wanted, accepted, tried = trials(3, 20), [], 0
    own = linked.pids()["export-worker"]
    with workers.twin(linked.stack, "export-worker"):
        while tried < wanted:
            jobs = [
                proof.request(someone, training_of(stage_s=2.0)).id for _ in range(min(AT_ONCE, 2 * (wanted - tried)))
            ]
            with frozen(linked, own, jobs) as held:
                for job in jobs:
                    proof.ended(someone, job)
                until(lambda jobs=jobs: are_settled(linked.stack, jobs), LIMIT_S, "another has done the jobs")
                victims = taken_over(linked, held)
                before = {job: traces(linked.stack, someone, job) for job in victims}
            until(lambda: not workers.runs_of(own), LIMIT_S, "the zombie's runs are over")
            proof.completed(someone, proof.request(someone, training_of()))
            for job in victims:
                accepted += differences(before[job], traces(linked.stack, someone, job))
            tried += len(victims)
    what = "writes of a stopped worker accepted after another did its job"
    figure(what, trials=tried, measured=len(accepted), promised=0)
    assert accepted == []
    assert linked.pids()["export-worker"] == own


@contextmanager
def frozen(linked, pid, jobs):
    """Stop a worker that has begun some of the jobs for the length of the block; which jobs it holds."""

    def held():
        leases = leases_of(linked.stack, jobs)
        return [job for job, lease in leases.items() if is_held(lease, pid)]

    def has_some_or_none_left():
        leases = leases_of(linked.stack, jobs)
        return held() or all(job in leases and leases[job].state == "done" for job in jobs)

    until(has_some_or_none_left, LIMIT_S, "the worker has begun a job")
    with workers.frozen(pid):
        yield held()


def is_held(lease, pid):
    return lease.worker.endswith(f"-{pid}") and lease.state == "running"


def taken_over(linked, jobs):
    """Those that the stopped worker had not just ended when it was stopped."""
    return [job for job, lease in leases_of(linked.stack, jobs).items() if lease.attempt > 1]


def differences(before: Traces, after: Traces) -> list[str]:
    """The names of what a zombie has changed."""
    return [name for name in before.__dataclass_fields__ if getattr(before, name) != getattr(after, name)]


def test_a_stopped_packager_writes_nothing_when_it_goes_on(linked, someone, training_of, figure, trials):
    """Its link to the store is slow, so that it is stopped in the middle of its uploads."""
    wanted, accepted, tried = trials(1, 5), [], 0
    own = linked.pids()["packager"]
    (link,) = linked.of(service="packager", server="s3")
    for _ in range(wanted):
        links.latency(link, 0.2)
        job = proof.request(someone, training_of()).id
        until(lambda job=job: packaging(linked, someone, job), LIMIT_S, "the packager has begun")
        with workers.frozen(own):
            links.heal(link)
            with workers.twin(linked.stack, "packager"):
                proof.ended(someone, job)
                until(lambda job=job: are_settled(linked.stack, [job]), LIMIT_S, "another has done the job")
                before = traces(linked.stack, someone, job)
        proof.completed(someone, proof.request(someone, training_of()))
        accepted += differences(before, traces(linked.stack, someone, job))
        tried += 1
    what = "writes of a stopped packager accepted after another did its job"
    figure(what, trials=tried, measured=len(accepted), promised=0)
    assert accepted == []
    assert linked.pids()["packager"] == own


def packaging(linked, someone, job):
    return someone.client.exports.get(job).stage == "package"
