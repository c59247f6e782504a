"""A client that hangs up in the middle of its picture is no failure of ours, and pays nothing."""

import logging
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from contracts.tiers import TIERS
from inference_proxy.api import Api, Parts
from inference_proxy.images import ImageLimits
from inference_proxy.keys import KeyCheck
from inference_proxy.policy import Allowance
from inference_proxy.quota import Reservation
from inference_proxy.routes import RouteTable

LIMITS = ImageLimits(max_bytes=1 << 20, max_pixels=1 << 20)


class Recorder:
    """Stands in for limits, meter and traces; `told` is what they learned."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def check(self, *_: object) -> None:
        return

    async def admit(self, *_: object) -> Allowance:
        return Allowance(name="minute", limit=9, window_s=60, remaining=8, reset_s=60)

    async def reserve(self, *_: object) -> Reservation:
        return Reservation(None, lambda answered: self.told.append(("billed", answered)))

    def record(self, *_: UUID, **__: Any) -> None:
        self.told.append("metered")

    def start(self, *_: object) -> None:
        return

    def end(self, _span: None, status: int, _stages: object) -> None:
        self.told.append(status)


@pytest.mark.parametrize("key", [b"", b"k"])
async def test_client_that_hangs_up_is_neither_counted_nor_an_error(
    kit: ModuleType, caplog: pytest.LogCaptureFixture, key: bytes
) -> None:
    endpoint, seen = kit.endpoint(), Recorder()
    routes = RouteTable()
    routes.put(endpoint.event)
    unused: Any = SimpleNamespace()
    parts: Any = {"rate": seen, "quota": seen, "meter": seen, "tracing": seen}
    api = Api(
        Parts(
            routes=routes, keys=KeyCheck(kit.PEPPER), data_plane=unused, once=unused, limits=LIMITS, checks={},
            body_timeout_s=60, concurrency=4, is_current=lambda: True, tiers=TIERS, **parts,
        )
    )  # fmt: skip
    headers = [(b"authorization", f"Bearer {endpoint.key}".encode()), (b"content-type", b"image/png")]
    scope = {"type": "http", "method": "POST", "path": endpoint.path, "query_string": b""}
    parts_of_it = iter([{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(parts_of_it)

    async def send(message: Any) -> None:
        seen.told.append(message)

    with caplog.at_level(logging.WARNING):
        await api({**scope, "headers": [*headers, (b"idempotency-key", key)]}, receive, send)
    assert [one for one in seen.told if not isinstance(one, tuple)] == [499]
    assert ("billed", True) not in seen.told
    assert not caplog.records
