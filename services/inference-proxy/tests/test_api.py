"""The whole proxy over HTTP, with real NATS, PostgreSQL and Triton."""

import base64
from typing import Any

import aiohttp
import pytest

from servicekit.bus import Bus

pytestmark = pytest.mark.integration


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Any:
    """The functions of conftest.py."""
    return request.config.pluginmanager.get_plugin(str(request.path.parent / "conftest.py"))


async def test_picture_is_answered(
    kit: Any, bus: Bus, start_proxy: Any, triton_server: Any, session: aiohttp.ClientSession
) -> None:
    endpoint = kit.endpoint()
    proxy = start_proxy(triton_server.url)
    await kit.announce(bus, endpoint)
    import asyncio

    await asyncio.sleep(1)
    body = {"image": base64.b64encode(kit.picture()).decode()}
    async with session.post(proxy.url + endpoint.path, json=body, headers=endpoint.headers) as answer:
        print(answer.status, await answer.text(), answer.headers)
        assert answer.status == 200
    import subprocess

    print(subprocess.run(["grep", "VmRSS", f"/proc/{proxy.pid}/status"], capture_output=True, text=True).stdout)
    assert 0
