"""What other services do: announce a training on the bus, once, twice, or wrongly."""

import asyncio
from uuid import uuid4

import msgspec
import nats
import pytest

from contracts.envelope import event_id, seal
from contracts.events import TrainingCompletedV1
from contracts.events.training import ExportWish
from contracts.subjects import base_subject
from contracts.vocabulary import ExportFormat

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
SUBJECT = base_subject(TrainingCompletedV1)


@pytest.fixture
async def bus(stack):
    connection = await nats.connect(stack.about.nats_url)
    yield connection.jetstream()
    await connection.close()


def announcement(owner, sample, **changes):
    told = {
        "training_job_id": uuid4(),
        "user_id": owner.id,
        "framework": sample.recipe.framework,
        "task_type": sample.recipe.task_type,
        "model_name": sample.recipe.model_name,
        "checkpoint_path": owner.client.training.upload(sample.checkpoint),
    }
    return msgspec.convert({"type": SUBJECT, **told, **changes}, TrainingCompletedV1)


async def publish(bus, event, *, message_id=None):
    envelope = seal(
        event,
        event_id=message_id or event_id(type(event), event.training_job_id),
        source="training",
        subject_id=event.training_job_id,
        trace_headers={},
    )
    await bus.publish(envelope.nats_subject, envelope.body, headers=envelope.headers)


def trainings(owner):
    return {str(training.id) for training in owner.client.training.list()}


async def test_a_training_can_bring_its_export_along(bus, owner, detector, until):
    event = announcement(owner, detector, export=ExportWish(export_format=ExportFormat.ONNX, version_tag="from-bus"))
    await publish(bus, event)
    until(lambda: str(event.training_job_id) in trainings(owner), 30, "the training is known")
    until(lambda: list(owner.client.training.exports(event.training_job_id)), 30, "the export is known")
    (job,) = owner.client.training.exports(event.training_job_id)
    assert job.version_tag == "from-bus"
    assert owner.client.exports.wait(job.id).status == "completed"


async def test_said_twice_is_done_once(bus, owner, detector, until):
    """The second time with another message id, as after the stream's window of duplicates."""
    event = announcement(owner, detector, export=ExportWish(export_format=ExportFormat.ONNX))
    await publish(bus, event)
    until(
        lambda: (
            list(owner.client.training.exports(event.training_job_id))
            if str(event.training_job_id) in trainings(owner)
            else ()
        ),
        30,
        "known",
    )
    await publish(bus, event, message_id=str(uuid4()))
    marker = announcement(owner, detector)
    await publish(bus, marker)
    until(lambda: str(marker.training_job_id) in trainings(owner), 30, "what came later is known")
    jobs = list(owner.client.training.exports(event.training_job_id))
    assert len(jobs) == 1
    owner.client.exports.cancel(jobs[0].id)


async def test_a_foreign_checkpoint_harms_nobody(bus, owner, detector, until):
    for path in ("s3://somebody-elses/best.pt", "s3://vision-platform/exports/x/model.onnx", "file:///etc/passwd"):
        await publish(
            bus, announcement(owner, detector, checkpoint_path=path, export=ExportWish(export_format=ExportFormat.ONNX))
        )
    await bus.publish(SUBJECT, b"{not json", headers={"Nats-Msg-Id": str(uuid4())})
    marker = announcement(owner, detector)
    await publish(bus, marker)
    until(lambda: str(marker.training_job_id) in trainings(owner), 30, "what came later is known")


async def test_poison_is_kept_with_its_reason(bus):
    stream = await bus.stream_info("DEADLETTER")
    before = stream.state.messages
    await bus.publish(SUBJECT, b"[]", headers={"Nats-Msg-Id": str(uuid4())})
    async with asyncio.timeout(30):
        while stream.state.messages == before:
            await asyncio.sleep(0.1)
            stream = await bus.stream_info("DEADLETTER")
    message = await bus.get_msg("DEADLETTER", stream.state.last_seq)
    assert stream.state.messages == before + 1
    assert "undecodable_event" in str(message.headers) or b"undecodable_event" in message.data
