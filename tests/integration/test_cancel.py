"""Cancelling: at once, for good, and with everything that ran for the job."""

from pathlib import Path

import psutil
import pytest

from modelport.errors import ApiError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_a_running_job_and_its_processes_end(stack, owner, detector_training):
    job = owner.client.exports.create(detector_training.id, "onnx")
    for state in owner.client.exports.follow(job.id):
        if state.stage in ("convert", "verify"):
            break
    ran_for_it = processes_of(stack, job)
    assert ran_for_it
    cancelled = owner.client.exports.cancel(job.id)
    assert cancelled.status == "cancelled"
    _, alive = psutil.wait_procs(ran_for_it, timeout=10)
    assert not alive
    states = [state.event for state in owner.client.exports.follow(job.id)]
    assert states[-1] == "cancelled"
    assert not {"completed", "failed"} & set(states)


def processes_of(stack, job):
    """The run that holds this job's request, and everything below it; warm runs that wait for other jobs are left out."""
    worker = psutil.Process(stack.about.processes["export-worker"])
    found = []
    for run in worker.children():
        request = Path(run.environ()["MODELPORT_RUN_DIR"]) / "job" / "request.json"
        if request.exists() and str(job.id) in request.read_text():
            found += [run, *run.children(recursive=True)]
    return found


def test_a_waiting_job_never_starts_and_the_next_one_does(owner, detector_training):
    first, second, third = (owner.client.exports.create(detector_training.id, "onnx") for _ in range(3))
    owner.client.exports.cancel(second.id)
    owner.client.exports.cancel(first.id)
    assert owner.client.exports.wait(third.id).status == "completed"
    stages = {state.stage for state in owner.client.exports.follow(second.id)}
    assert stages == {None}
    assert owner.client.exports.get(second.id).status == "cancelled"


def test_what_is_over_cannot_be_cancelled(owner, detector_export):
    with pytest.raises(ApiError) as caught:
        owner.client.exports.cancel(detector_export.id)
    assert caught.value.status == 409
    assert owner.client.exports.get(detector_export.id).status == "completed"
