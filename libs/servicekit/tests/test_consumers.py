"""A pull consumer that was lost with its stream begins with the new one, however much that holds by then."""

from uuid import uuid4

import nats.errors
import pytest

from contracts.events import ExportCancelledV1
from servicekit.bus import Bus
from servicekit.consumers import PullConsumer, durable_config

pytestmark = pytest.mark.integration


async def publish(bus: Bus, count: int) -> None:
    for _ in range(count):
        await bus.publish(ExportCancelledV1(job_id=uuid4()), subject_id="x")


async def numbers(consumer: PullConsumer, last: int) -> list[int]:
    """Fetch and settle until the message of this number in the stream."""
    found: list[int] = []
    while last not in found:
        try:
            (message,) = await consumer.fetch(1, 1.0)
        except nats.errors.TimeoutError:
            continue
        await message.ack_sync(timeout=5)
        found.append(message.metadata.sequence.stream)
    return found


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_lost_consumer_begins_where_it_was_unless_its_stream_is_a_new_one(bus: Bus, is_new: bool) -> None:
    config = durable_config("reader", ["export.jobs.cancelled.v1"], ack_wait_s=5.0, max_ack_pending=10)
    consumer = PullConsumer(bus.jetstream, "EXPORT", config)
    await consumer.declare()
    await consumer.bind()
    await publish(bus, 2)
    assert await numbers(consumer, 2) == [1, 2]
    await consumer.declare()
    if is_new:
        await bus.jetstream.delete_stream("EXPORT")
        await bus.declare()
        await publish(bus, 4)
    else:
        await publish(bus, 2)
        await bus.jetstream.delete_consumer("EXPORT", "reader")
    assert await numbers(consumer, 4) == ([1, 2, 3, 4] if is_new else [3, 4])
    await consumer.unsubscribe()
