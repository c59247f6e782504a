"""The tiny health server answers by name of each check."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from contracts.errors import Transient
from servicekit.health import HealthServer


async def good() -> None:
    pass


async def bad() -> None:
    raise Transient("unavailable", "NATS does not answer")


async def broken() -> None:
    raise KeyError("secret detail")


async def says_no() -> bool:
    return False


async def ask(checks: dict[str, Callable[[], Awaitable[object]]], path: str) -> httpx.Response:
    async with HealthServer("127.0.0.1", 0, checks) as server, httpx.AsyncClient() as http:
        return await http.get(f"http://127.0.0.1:{server.port}{path}")


async def test_alive_and_ready() -> None:
    assert (await ask({"bad": bad}, "/healthz")).json() == {"status": "ok", "checks": {}}
    answer = await ask({"bus": good, "store": good}, "/readyz?x=1")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": {"bus": "ok", "store": "ok"}})


async def test_not_ready_names_the_check_and_hides_internals() -> None:
    answer = await ask({"bus": bad, "store": good, "x": broken, "y": says_no}, "/readyz")
    told = {"bus": "NATS does not answer", "store": "ok", "x": "KeyError", "y": "failing"}
    assert (answer.status_code, answer.json()) == (503, {"status": "failing", "checks": told})


async def test_other_paths_and_rubbish() -> None:
    assert (await ask({}, "/")).status_code == 404
    async with HealthServer("127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"\x00\r\n\r\n")
        assert b"404" in await reader.read()
        writer.close()


async def test_a_taken_port_is_an_error() -> None:
    async with HealthServer("127.0.0.1", 0) as server:
        with pytest.raises(OSError, match="address already in use"):
            await HealthServer("127.0.0.1", server.port).start()
