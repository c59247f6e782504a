"""The other platform service of the story: it says on the bus that a training is complete."""

import asyncio
import secrets
from uuid import UUID, uuid4

import nats

from contracts.envelope import event_id, seal
from contracts.events import TrainingCompletedV1
from contracts.subjects import stream_of
from contracts.vocabulary import Framework, TaskType
from samples import Recipe


def announce(nats_url: str, user_id: UUID, checkpoint: str, recipe: Recipe) -> tuple[UUID, str]:
    """Publish `training.jobs.completed.v1` and wait for JetStream's ack; the training's id and the new trace's id."""
    event = TrainingCompletedV1(
        training_job_id=uuid4(),
        user_id=user_id,
        framework=Framework(recipe.framework),
        task_type=TaskType(recipe.task_type),
        model_name=recipe.model_name,
        checkpoint_path=checkpoint,
        classes=list(recipe.classes),
    )
    trace_id = secrets.token_hex(16)
    asyncio.run(_publish(nats_url, event, f"00-{trace_id}-{secrets.token_hex(8)}-01"))
    return event.training_job_id, trace_id


async def _publish(nats_url: str, event: TrainingCompletedV1, traceparent: str) -> None:
    identity = event_id(TrainingCompletedV1, event.training_job_id)
    sealed = seal(
        event,
        event_id=identity,
        source="training-platform",
        subject_id=event.training_job_id,
        trace_headers={"traceparent": traceparent},
    )
    connection = await nats.connect(nats_url)
    try:
        stream = stream_of(sealed.nats_subject)
        await connection.jetstream().publish(sealed.nats_subject, sealed.body, headers=sealed.headers, stream=stream)
    finally:
        await connection.close()
