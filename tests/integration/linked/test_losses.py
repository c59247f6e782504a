"""Streams and buckets that are deleted by hand: jobs finish, endpoints answer, usage goes on, nobody is started again."""

from collections.abc import Callable
from functools import partial

import pytest

from contracts import keys
from tests.integration.chaos.load import insist
from tests.integration.linked import proof
from tests.integration.linked.caller import calling
from tests.integration.nemeses import processes
from tests.integration.nemeses.streams import delete_bucket, delete_stream
from tests.stack import until

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900)]

STREAMS = ("EXPORT", "DEPLOYMENT", "TRAINING", "USAGE", "DEADLETTER", "MINUTES")
LOSSES: dict[str, Callable[[str], None]] = {
    **{name: partial(delete_stream, name=name) for name in STREAMS},
    **{name: partial(delete_bucket, name=name) for name in ("leases", "workers")},
}
TOGETHER = (("EXPORT", "TRAINING", "workers"), ("leases", "DEADLETTER"), ("DEPLOYMENT", "USAGE", "MINUTES"))
TIMES = 3
LIMIT_S = 300


@pytest.fixture
def endpoint(someone, training_of):
    """A deployment that is there before the first loss, and its key."""
    job = proof.completed(someone, proof.request(someone, training_of()))
    deployment, key = someone.deploy(job)
    yield deployment.id, key
    someone.client.deployments.delete(deployment.id)


@pytest.fixture
def rounds(pytestconfig):
    """What is deleted at once: in groups, and in the full edition each alone, too, and more than once."""
    alone = tuple((name,) for name in LOSSES)
    return TOGETHER + alone * TIMES if pytestconfig.getoption("full") else TOGETHER


def used(someone, deployment_id):
    return insist(someone.client.deployments.usage, deployment_id).request_count


@pytest.fixture
def survives(linked, someone, training_of, endpoint, picture):
    """`survives(names)`: what is under way ends well, what comes later too; None, or what went wrong."""

    def check(names):
        before = linked.pids()
        under_way = proof.request(someone, training_of(stage_s=1.0))
        until(lambda: insist(someone.client.exports.get, under_way.id).status == "running", LIMIT_S, "the job runs")
        try:
            for name in names:
                LOSSES[name](linked.stack.about.nats_url)
            counted = used(someone, endpoint[0])
            proof.completed(someone, under_way)
            proof.is_served(someone, proof.completed(someone, proof.request(someone, training_of())), picture)
            until(lambda: used(someone, endpoint[0]) > counted, LIMIT_S, "use goes on being counted")
        except AssertionError as error:
            return str(error)
        after = linked.pids()
        return None if after == before else f"started again: {[name for name in after if after[name] != before[name]]}"

    return check


def test_what_is_deleted_by_hand_costs_no_job_and_no_endpoint(linked, endpoint, picture, rounds, survives, figure):
    with calling(linked.stack.about.proxy_url, *endpoint, picture) as calls:
        broken = {", ".join(names): why for names in rounds if (why := survives(names))}
    what = "streams and buckets deleted under load"
    figure(
        f"{what}: rounds with a lost job, deployment or service", trials=len(rounds), measured=len(broken), promised=0
    )
    made = calls.answered + calls.refused + len(calls.wrong)
    figure(f"{what}: calls answered with anything but 200 or 503", trials=made, measured=len(calls.wrong), promised=0)
    told = f"{calls.refused}, never longer than {calls.longest_s:.1f} s"
    figure(f"{what}: calls refused with 503", trials=made, measured=told, promised="till the minute is over")
    assert broken == {}
    assert calls.wrong == []


def test_a_deployer_that_finds_an_empty_stream_leaves_the_models_alone(
    linked, endpoint, someone, training_of, picture, figure, trials
):
    """Nobody states the wishes again while the gateway is stopped."""
    rounds = trials(1, 3)
    name = keys.triton_model_name(endpoint[0])
    log = linked.stack.home / "logs" / "deployer.log"
    job = proof.completed(someone, proof.request(someone, training_of()))
    with calling(linked.stack.about.proxy_url, *endpoint, picture) as calls:
        for _ in range(rounds):
            kept = log.read_text().count(f"keeping {name}")
            with processes.stopped(linked.stack, "gateway"):
                delete_stream(linked.stack.about.nats_url, "DEPLOYMENT")
                processes.kill_and_wait(linked.stack, "deployer")
                until(lambda kept=kept: log.read_text().count(f"keeping {name}") > kept, LIMIT_S, "Triton is compared")
                proof.answers(someone, *endpoint, picture)
            proof.is_served(someone, job, picture)
    what = "a deployer started upon an empty stream: calls not answered"
    figure(what, trials=calls.answered + calls.refused + len(calls.wrong), measured=len(calls.wrong), promised=0)
    assert calls.wrong == []
