"""kill -9 of every service in the middle of its work: nothing is lost, nothing is done twice."""

import time

import pytest

from contracts.vocabulary import ExportStage
from modelport.errors import ApiError, UnreachableError

ORDER = [str(stage) for stage in ExportStage]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def start(owner, training):
    return owner.client.exports.create(training.id, "onnx")


def stage_reached(owner, job, stage):
    """Follow the job until it is at this stage, or past it: quick stages are not always told."""
    for state in owner.client.exports.follow(job.id):
        if state.stage and state.event == "progressed" and ORDER.index(state.stage) >= ORDER.index(stage):
            return
    pytest.fail(f"the job ended before the stage {stage}: {owner.client.exports.get(job.id).error}")


def the_end(owner, job):
    """The job's end, and the proof that its package was told of once."""
    ended = owner.client.exports.wait(job.id)
    assert ended.status == "completed", ended.error
    names = [state.event for state in owner.client.exports.follow(job.id)]
    assert names.count("completed") == 1
    assert names[-1] == "completed"
    return ended


def test_the_worker_dies_while_it_converts(stack, owner, detector_training):
    job = start(owner, detector_training)
    stage_reached(owner, job, "convert")
    pid = stack.kill("export-worker")
    stack.wait_for_successor("export-worker", pid)
    assert the_end(owner, job).attempt >= 2


def test_the_packager_is_dead_when_the_artefact_comes(stack, owner, detector_training):
    job = start(owner, detector_training)
    stage_reached(owner, job, "verify")
    pid = stack.kill("packager")
    stack.wait_for_successor("packager", pid)
    the_end(owner, job)


@pytest.mark.parametrize("stage", ["load", "verify"])
def test_the_gateway_dies_while_the_job_runs(stack, owner, detector_training, stage):
    """The SDK follows across the gap."""
    job = start(owner, detector_training)
    stage_reached(owner, job, stage)
    pid = stack.kill("gateway")
    stack.wait_for_successor("gateway", pid)
    the_end(owner, job)


def test_the_gateway_dies_right_after_the_request(stack, owner, detector_training):
    job = start(owner, detector_training)
    pid = stack.kill("gateway")
    stack.wait_for_successor("gateway", pid)
    the_end(owner, job)


def test_the_deployer_dies_while_it_deploys(stack, owner, detector_export, pictures):
    made = owner.client.deployments.create(detector_export.id, "platform_endpoint", "crash")
    pid = stack.kill("deployer")
    stack.wait_for_successor("deployer", pid)
    assert owner.client.deployments.wait(made.id).status == "active"
    answered(owner, made, pictures)


@pytest.mark.parametrize("kind", ["edge_package", "container"])
def test_the_packager_dies_while_it_builds_for_a_deployment(stack, owner, detector_export, tmp_path, kind):
    config = {"target_platform": "linux"} if kind == "edge_package" else None
    made = owner.client.deployments.create(detector_export.id, kind, "crash", config=config)
    pid = stack.kill("packager")
    stack.wait_for_successor("packager", pid)
    ended = owner.client.deployments.wait(made.id, timeout_s=240)
    assert ended.status == "active", ended.error
    owner.client.deployments.download(made.id, tmp_path / "package.zip")
    assert [event.event_type for event in owner.client.deployments.history(made.id)] == ["deployed"]


def test_the_proxy_dies_and_knows_its_routes_again(stack, owner, detector_export, pictures):
    deployment, key = owner.deploy(detector_export)
    pid = stack.kill("inference-proxy")
    stack.wait_for_successor("inference-proxy", pid)
    answered(owner, deployment, pictures, key)


def test_triton_dies_and_has_its_models_again(stack, owner, detector_export, pictures):
    deployment, key = owner.deploy(detector_export)
    pid = stack.kill("triton")
    stack.wait_for_successor("triton", pid)
    answered(owner, deployment, pictures, key)


@pytest.mark.parametrize("server", ["nats", "postgres"])
def test_a_server_dies_while_the_job_runs(stack, owner, detector_training, detector_export, pictures, server):
    """And its endpoints answer again, at the latest with the next minute."""
    deployment, key = owner.deploy(detector_export)
    job = start(owner, detector_training)
    stage_reached(owner, job, "load")
    pid = stack.kill(server)
    stack.wait_for_successor(server, pid)
    the_end(owner, job)
    answered(owner, deployment, pictures, key)


def answered(owner, deployment, pictures, key=None):
    """The endpoint answers, now or after a while of honest refusals."""
    endpoint = owner.client.endpoint(deployment.id, key or deployment.api_key)
    deadline = time.monotonic() + 90
    while True:
        try:
            return endpoint.infer(pictures[0])
        except (ApiError, UnreachableError) as error:
            transient = isinstance(error, UnreachableError) or error.status in (401, 404, 409, 502, 503)
            if not transient or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
