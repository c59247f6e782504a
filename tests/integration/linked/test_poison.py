"""A job that kills every worker that touches it, and messages that nobody can read: given up with a reason, and tried again by hand."""

import asyncio
import json
import os
import subprocess
import sys
from uuid import uuid4

import nats
import pytest

from contracts.events import ExportRequestedV1, ModelExportedV1
from contracts.subjects import base_subject
from tests.integration.linked import proof
from tests.integration.linked.conftest import QUICK
from tests.stack import until

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900)]

MAX_DELIVER = int(QUICK["MAX_DELIVER"])
DEATH = "export-worker ended with signal SIGKILL"
LIMIT_S = 300


@pytest.fixture
def command(linked):
    """`command("list")`: `modelport dead-letters …` as an operator types it; its JSON."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELPORT_")}

    def run(*arguments, code=0):
        argv = [sys.executable, "-m", "modelport", "dead-letters", *arguments, "--json"]
        told = {**environment, "MODELPORT_HOME": str(linked.stack.home)}
        ran = subprocess.run(argv, env=told, capture_output=True, text=True, timeout=240)
        assert ran.returncode == code, ran.stdout + ran.stderr
        return json.loads(ran.stdout) if code == 0 else ran.stderr

    return run


def deaths(linked):
    return (linked.stack.home / "stack.log").read_text().count(DEATH)


def letters_about(command, identity):
    return [letter for letter in command("list") if str(identity) in letter["body"]]


def test_poison_is_tried_so_often_then_given_up_and_can_be_tried_again(
    linked, someone, training_of, command, tmp_path, figure
):
    flag = tmp_path / "poisonous"
    flag.touch()
    before = deaths(linked)
    job = proof.request(someone, training_of(kills_its_worker_while=str(flag)))
    failed = someone.client.exports.wait(job.id)
    tried = deaths(linked) - before
    (letter,) = letters_about(command, job.id)
    figure("workers killed by a poisonous job before it is given up", trials=1, measured=tried, promised=MAX_DELIVER)
    assert (failed.status, failed.error.code, letter["code"]) == ("failed", "worker_lost", "worker_lost")
    assert str(MAX_DELIVER) in letter["reason"]
    assert tried == MAX_DELIVER
    flag.unlink()
    replayed = command("replay", str(letter["sequence"]))
    assert (replayed["action"], replayed["job_id"]) == ("job_requested", str(job.id))
    assert proof.completed(someone, job).attempt > MAX_DELIVER
    assert letters_about(command, job.id) == []
    assert deaths(linked) - before == tried
    assert "not_found" in command("replay", str(letter["sequence"]), code=1)


@pytest.mark.parametrize("kind", [ExportRequestedV1, ModelExportedV1])
def test_what_nobody_can_read_is_kept_and_not_tried_again(linked, someone, training_of, command, kind):
    mark = str(uuid4())
    subject = base_subject(kind) + (".onnx" if kind is ExportRequestedV1 else "")
    asyncio.run(publish(linked.stack.about.nats_url, subject, json.dumps({"type": mark}).encode()))
    until(lambda: letters_about(command, mark), LIMIT_S, "the message is given up")
    letters = letters_about(command, mark)
    assert {letter["code"] for letter in letters} == {"undecodable_event"}
    assert {letter["deliveries"] for letter in letters} == {1}
    assert "undecodable_event" in command("replay", str(letters[0]["sequence"]), code=1)
    proof.completed(someone, proof.request(someone, training_of()))


async def publish(url, subject, body):
    client = await nats.connect(url)
    try:
        await client.jetstream().publish(subject, body, headers={"Nats-Msg-Id": str(uuid4())})
    finally:
        await client.close()
