"""The bus delivers at least once and in any order: old and doubled messages change nothing."""

from uuid import uuid4

import nats
import pytest

from contracts.envelope import MESSAGE_ID_HEADER
from contracts.subjects import stream_of
from modelport.errors import ApiError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
async def bus(stack):
    connection = await nats.connect(stack.about.nats_url)
    yield connection.jetstream()
    await connection.close()


async def messages_about(bus, stream, identity):
    """Every message of a stream that speaks of a job or deployment, in order."""
    state = (await bus.stream_info(stream)).state
    found = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        message = await bus.get_msg(stream, sequence)
        if str(identity).encode() in message.data:
            found.append(message)
    return found


async def say_again(bus, messages, *, fresh_ids):
    for message in messages:
        headers = dict(message.headers)
        headers[MESSAGE_ID_HEADER] = str(uuid4()) if fresh_ids else f"{headers[MESSAGE_ID_HEADER]}-again"
        if fresh_ids:
            headers["ce-id"] = headers[MESSAGE_ID_HEADER]
        await bus.publish(message.subject, message.data, headers=headers)


@pytest.mark.parametrize("fresh_ids", [False, True], ids=["same event ids", "fresh event ids"])
async def test_a_finished_job_stays_as_it_is(bus, owner, detector_training, detector_export, fresh_ids):
    before = owner.client.exports.get(detector_export.id)
    story = [(state.event, state.stage) for state in owner.client.exports.follow(before.id)]
    told = await messages_about(bus, "EXPORT", before.id)
    subjects = {message.subject for message in told}
    assert any("requested" in subject for subject in subjects)
    assert any("packages.built" in subject for subject in subjects)
    await say_again(bus, reversed(told), fresh_ids=fresh_ids)
    marker = owner.export(detector_training)
    assert marker.status == "completed"
    after = owner.client.exports.get(before.id)
    assert (after.status, after.attempt, after.export_package_path) == (
        before.status,
        before.attempt,
        before.export_package_path,
    )
    assert [(state.event, state.stage) for state in owner.client.exports.follow(before.id)] == story


async def test_an_old_wish_does_not_bring_a_deployment_back(bus, owner, detector_export, pictures, until):
    deployment, key = owner.deploy(detector_export)
    endpoint = owner.client.endpoint(deployment.id, key)
    endpoint.infer(pictures[0])
    owner.client.deployments.deactivate(deployment.id)
    until(lambda: owner.client.deployments.get(deployment.id).status == "inactive", 60, "it is inactive")
    told = await messages_about(bus, stream_of("deployment.x"), deployment.id)
    await say_again(bus, told[:-1], fresh_ids=True)
    marker, marker_key = owner.deploy(detector_export)
    assert owner.client.endpoint(marker.id, marker_key).infer(pictures[0])
    assert owner.client.deployments.get(deployment.id).status == "inactive"
    with pytest.raises(ApiError) as caught:
        endpoint.infer(pictures[0])
    assert caught.value.code == "conflict"
