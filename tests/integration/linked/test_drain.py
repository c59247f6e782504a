"""SIGTERM in the middle of work: what runs is handed back once and counts as no failure, what is being answered is answered."""

import http.client
import json
import os
import signal
import threading
from urllib.parse import urlsplit

import pytest

from contracts.subjects import package_lease
from tests.integration.linked import proof
from tests.integration.linked.conftest import QUICK
from tests.integration.linked.facts import are_settled, leases_of, traces
from tests.integration.nemeses import links, processes
from tests.stack import until

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900)]

LIMIT_S = 300
SLOTS = int(QUICK["SLOTS"])
AT_ONCE = 143


def log_of(linked, name):
    return (linked.stack.home / "logs" / f"{name}.log").read_text(errors="replace")


def endings(linked, name, outcome):
    return (linked.stack.home / "stack.log").read_text().count(f"{name} ended with {outcome}")


def test_a_worker_hands_back_what_it_runs(linked, someone, training_of, figure, trials):
    count, wrong = trials(2, 10), []
    jobs = [proof.request(someone, training_of(stage_s=2.0)).id for _ in range(count)]
    until(lambda: len(leases_of(linked.stack, jobs)) >= min(count, SLOTS), LIMIT_S, "the worker is busy")
    busy = [job for job, lease in leases_of(linked.stack, jobs).items() if lease.state == "running"]
    clean = endings(linked, "export-worker", "exit code 0")
    processes.restart(linked.stack, "export-worker")
    assert endings(linked, "export-worker", "exit code 0") == clean + 1
    for job in jobs:
        proof.ended(someone, job)
    until(lambda: are_settled(linked.stack, jobs), LIMIT_S, "the jobs are over")
    for job in jobs:
        found = traces(linked.stack, someone, job)
        lease = found.leases[str(job)][0]
        handed_back = lease.attempt - 1
        if handed_back > (job in busy) or lease.failures or packages(found) != [found.row.attempt]:
            wrong.append((lease, found.told))
    figure(
        "exports handed back at SIGTERM more than once, or as a failure", trials=count, measured=len(wrong), promised=0
    )
    assert wrong == []


def packages(found):
    """The attempts whose package was told of."""
    return [attempt for subject, attempt in found.told if "packages.built" in subject]


def test_a_second_sigterm_is_quick_and_loses_nothing(linked, someone, training_of):
    """The first one cannot be heeded quickly: the worker's bus does not answer."""
    job = proof.request(someone, training_of(stage_s=2.0)).id
    until(lambda: job in leases_of(linked.stack, [job]), LIMIT_S, "the worker is busy")
    pid, asked = linked.pids()["export-worker"], log_of(linked, "export-worker").count("asked to stop")
    before = endings(linked, "export-worker", f"exit code {AT_ONCE}")
    (link,) = linked.of(service="export-worker", server="nats")
    links.partition(link)
    try:
        os.kill(pid, signal.SIGTERM)
        until(lambda: log_of(linked, "export-worker").count("asked to stop") > asked, LIMIT_S, "it has heard")
        os.kill(pid, signal.SIGTERM)
        linked.stack.wait_for_successor("export-worker", pid)
    finally:
        links.heal(link)
    assert endings(linked, "export-worker", f"exit code {AT_ONCE}") == before + 1
    ended = proof.ended(someone, job)
    assert ended.attempt >= 2
    assert packages(traces(linked.stack, someone, job)) == [ended.attempt]


def test_a_packager_hands_back_what_it_builds(linked, someone, training_of):
    (link,) = linked.of(service="packager", server="s3")
    links.latency(link, 0.2)
    try:
        job = proof.request(someone, training_of()).id
        until(lambda: someone.client.exports.get(job).stage == "package", LIMIT_S, "the packager has begun")
        processes.restart(linked.stack, "packager")
    finally:
        links.heal(link)
    proof.ended(someone, job)
    until(lambda: are_settled(linked.stack, [job]), LIMIT_S, "the job is over")
    lease = traces(linked.stack, someone, job).leases[package_lease(job)][0]
    assert (lease.state, lease.failures) == ("done", 0)


def test_a_deployer_hands_back_what_it_deploys(linked, someone, training_of, picture):
    job = proof.completed(someone, proof.request(someone, training_of()))
    (link,) = linked.of(service="deployer", server="s3")
    links.latency(link, 0.2)
    try:
        made = someone.client.deployments.create(job.id, "platform_endpoint", "drained")
        until(lambda: someone.client.deployments.get(made.id).status == "deploying", LIMIT_S, "the deployer is asked")
        processes.restart(linked.stack, "deployer")
    finally:
        links.heal(link)
    assert someone.client.deployments.wait(made.id).status == "active"
    proof.answers(someone, made.id, made.api_key, picture)
    someone.client.deployments.delete(made.id)


def test_a_gateway_finishes_what_it_answers_and_ends_its_streams(linked, someone, training_of):
    training = training_of(stage_s=3.0)
    job = proof.request(someone, training)
    streams = Stream(linked, someone, job.id)
    body = json.dumps({"training_job_id": str(training.id), "export_format": "onnx"}).encode()
    half = Half(linked, someone, "/api/v1/export/jobs", body)
    pid, asked = linked.pids()["gateway"], log_of(linked, "gateway").count("asked to stop")
    os.kill(pid, signal.SIGTERM)
    until(lambda: log_of(linked, "gateway").count("asked to stop") > asked, LIMIT_S, "it has heard")
    assert half.finish() == 201
    assert streams.ended_cleanly()
    processes.successor(linked.stack, "gateway", pid)
    proof.completed(someone, job)


def connect(linked):
    return http.client.HTTPConnection(urlsplit(linked.stack.about.gateway_url).netloc, timeout=LIMIT_S)


def bearer(someone):
    return f"Bearer {someone.client.transport._token}"


class Half:
    """A request whose body is asked for (100 Continue) and not yet sent: the gateway is in the middle of it."""

    def __init__(self, linked, someone, path, body):
        self._body, self._connection = body, connect(linked)
        self._connection.putrequest("POST", path)
        for name, value in {
            "Authorization": bearer(someone),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Expect": "100-continue",
        }.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        assert self._connection.sock.recv(1024).startswith(b"HTTP/1.1 100")

    def finish(self):
        self._connection.send(self._body)
        return self._connection.getresponse().status


class Stream:
    """Somebody who follows a job; a chunked answer that is cut off raises IncompleteRead."""

    def __init__(self, linked, someone, job_id):
        connection = connect(linked)
        connection.request("GET", f"/api/v1/export/jobs/{job_id}/events", headers={"Authorization": bearer(someone)})
        self._answer, self._error = connection.getresponse(), None
        assert self._answer.status == 200
        self._answer.readline()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            self._answer.read()
        except (http.client.HTTPException, OSError) as error:
            self._error = error

    def ended_cleanly(self):
        self._thread.join(LIMIT_S)
        return not self._thread.is_alive() and self._error is None
