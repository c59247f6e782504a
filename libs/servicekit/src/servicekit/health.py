"""/healthz and /readyz for services without an API, on a bare asyncio server: nothing to install, a few KiB."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

import msgspec

from contracts.errors import ModelportError

Check = Callable[[], Awaitable[object]]
Checks = Mapping[str, Check]

CHECK_TIMEOUT_S = 3.0
_REQUEST_TIMEOUT_S = 5.0


class Health(msgspec.Struct, frozen=True):
    """`ok` or `failing`, and what each check says: `ok`, a sentence of a check that passes, or what is wrong."""

    status: str
    checks: dict[str, str] = {}


async def run_checks(checks: Checks) -> Health:
    """Run all checks at once; a check fails by raising, by answering False or by taking more than three seconds.

    One that passes may answer a sentence, which is shown.
    """
    verdicts = await asyncio.gather(*(_verdict(check) for check in checks.values()))
    result = {name: told for name, (_, told) in zip(checks, verdicts, strict=True)}
    return Health("ok" if all(passes for passes, _ in verdicts) else "failing", result)


async def _verdict(check: Check) -> tuple[bool, str]:
    try:
        answer = await asyncio.wait_for(check(), CHECK_TIMEOUT_S)
    except ModelportError as error:
        return False, error.message
    except TimeoutError:
        return False, f"no answer in {CHECK_TIMEOUT_S:.0f} s"
    except Exception as error:
        return False, type(error).__name__
    if answer is False:
        return False, "failing"
    return True, answer if isinstance(answer, str) else "ok"


class HealthServer:
    """Answers GET /healthz (alive) and /readyz (every check passes, else 503)."""

    def __init__(self, host: str, port: int, checks: Checks | None = None) -> None:
        self._host = host
        self._port = port
        self._checks = checks or {}
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port listened on (the one chosen by the system where 0 was asked for)."""
        if self._server is None:
            return self._port
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen; OSError where the port is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> "HealthServer":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _REQUEST_TIMEOUT_S)
            path = request.split(b" ", 2)[1].split(b"?")[0] if request.count(b" ") > 1 else b""
            status, health = await self._answer(path)
            body = msgspec.json.encode(health)
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    async def _answer(self, path: bytes) -> tuple[HTTPStatus, Health]:
        if path == b"/healthz":
            return HTTPStatus.OK, Health("ok")
        if path == b"/readyz":
            health = await run_checks(self._checks)
            return (HTTPStatus.OK if health.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE), health
        return HTTPStatus.NOT_FOUND, Health("not found")
