"""Usage: each answered request reaches the bus once, however often the bus is away."""

from typing import Any
from uuid import UUID, uuid4

from contracts.errors import Transient
from contracts.events.usage import InferenceRecordedV1
from inference_proxy.usage import Meter

A, B, USER = uuid4(), uuid4(), uuid4()


class Bus:
    """Takes events, unless it is away; `lost_acks` takes them without saying so."""

    def __init__(self) -> None:
        self.events: dict[str, InferenceRecordedV1] = {}
        self.away = False
        self.lost_acks = False

    async def publish(self, event: InferenceRecordedV1, *, subject_id: UUID | str, event_id: str | None = None) -> str:
        assert event_id is not None
        assert subject_id == event.deployment_id
        if self.away:
            raise Transient("unavailable", "away")
        assert self.events.setdefault(event_id, event) == event
        if self.lost_acks:
            raise Transient("unavailable", "no ack")
        return event_id

    def total(self, field: str, deployment_id: UUID = A) -> Any:
        return sum(getattr(event, field) for event in self.events.values() if event.deployment_id == deployment_id)


async def test_counts_are_summed_per_deployment() -> None:
    bus = Bus()
    meter = Meter(bus, "p")
    for milliseconds in (1.0, 2.5):
        meter.record(A, USER, answered=True, inference_ms=milliseconds)
    meter.record(A, USER, answered=False)
    meter.record(B, USER, answered=True)
    await meter.flush()
    await meter.flush()
    assert len(bus.events) == 2
    [event] = [one for one in bus.events.values() if one.deployment_id == A]
    assert (event.user_id, event.proxy_id) == (USER, "p")
    assert (event.requests, event.errors, event.inference_time_ms) == (2, 1, 3.5)
    assert event.first_request_at <= event.last_request_at


async def test_nothing_is_lost_or_doubled_while_the_bus_is_away() -> None:
    bus = Bus()
    meter = Meter(bus, "p")
    for round_ in range(20):
        bus.away, bus.lost_acks = round_ % 3 == 1, round_ % 3 == 2
        meter.record(A, USER, answered=True, inference_ms=1.0)
        await meter.flush()
    bus.away = bus.lost_acks = False
    await meter.flush()
    assert bus.total("requests") == 20
    assert bus.total("inference_time_ms") == 20.0


async def test_memory_is_bounded_while_the_bus_is_away() -> None:
    bus = Bus()
    meter = Meter(bus, "p")
    bus.away = True
    for _ in range(500):
        meter.record(A, USER, answered=True)
        await meter.flush()
    bus.away = False
    await meter.flush()
    assert len(bus.events) <= 2
    assert bus.total("requests") == 500
