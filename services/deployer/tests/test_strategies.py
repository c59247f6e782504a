"""Large models take turns: each load holds its model's bytes several times, in the memory of all tenants."""

import asyncio
import hashlib

import msgspec
import pytest

from contracts.keys import ObjectRef
from deployer import strategies
from deployer.strategies import PlatformEndpoint
from servicekit.telemetry import Telemetry

DATA = b"weights"


class Store:
    """Has every object."""

    async def exists(self, key: str) -> bool:
        return True

    async def get_bytes(self, key: str, max_bytes: int) -> bytes:
        return DATA

    async def put_bytes(self, key: str, data: bytes, content_type: str) -> None:
        return None


class Triton:
    """Counts the loads under way; a load ends once as many are under way as are expected."""

    def __init__(self, expected: int) -> None:
        self.running = self.most = 0
        self._together = asyncio.Barrier(expected)

    async def wait_live(self, patience_s: float) -> None:
        return None

    async def load(self, *_: object) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self._together.wait()
        await asyncio.sleep(0.01)
        self.running -= 1

    async def warm_up(self, *_: object) -> None:
        return None


@pytest.mark.parametrize(("large_from", "at_once"), [(0, 1), (1 << 30, 3)])
async def test_large_models_are_loaded_one_at_a_time(
    request_for, monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry, large_from: int, at_once: int
) -> None:
    monkeypatch.setattr(strategies, "LARGE_BYTES", large_from)
    triton = Triton(at_once)
    endpoint = PlatformEndpoint(Store(), triton, telemetry, threads=1, model_max_bytes=1 << 30)
    model = ObjectRef(key="exports/x/model.onnx", sha256=hashlib.sha256(DATA).hexdigest(), size_bytes=len(DATA))
    requests = [msgspec.structs.replace(request_for(), model=model) for _ in range(3)]
    await asyncio.gather(*(endpoint.activate(request) for request in requests))
    assert triton.most == at_once
