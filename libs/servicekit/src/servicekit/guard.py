"""Limits of a connection that uvicorn has not: how long a request may take to arrive, how large its head may be, who must go
when there is no room, and what becomes of a client that does not read.

uvicorn itself waits for ever for a head or a body, keeps heads of any size, and takes as many connections as there are
file descriptors. A timer is set only where a read left a request unfinished, so that an ordinary request costs none.
"""

import asyncio
import resource
from itertools import chain

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contracts.errors import ERRORS, ModelportError
from servicekit.problems import PROBLEM_JSON, describe

HEAD, BODY = "head", "body"
LINGER_S = 1.0


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds for a head, a body and a reader that has stopped; bytes and lines of a head; connections of the process."""

    head_s: float = 10.0
    body_s: float = 60.0
    stall_s: float = 60.0
    head_bytes: int = 32 << 10
    head_lines: int = 100
    connections: int = 1000

    @property
    def room(self) -> int:
        """Connections that are kept; a quarter of the process's descriptors is for everything else."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return min(self.connections, soft * 3 // 4)


class GuardedProtocol(HttpToolsProtocol):
    """One connection; refuses with a problem where an answer is possible, and closes."""

    limits = HttpLimits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._waits_for: str = HEAD
        self._timed = ""
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._since = self.loop.time()
        self._head_bytes = 0
        self._is_refused = False
        self._refusal = ModelportError("invalid_request", "This is not a request of HTTP/1.1.")
        self._time_phase()
        if len(self.connections) > self.limits.room:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._waits_for == HEAD and self._head_bytes > self.limits.head_bytes:
            self._refuse(_too_large(self.limits))
        self._time_phase()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._waits_for, self._since = HEAD, self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._waits_for == BODY:
            self._refusal = ModelportError("invalid_request", "Trailers are not understood.")
            raise ValueError("a trailer")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if size > self.limits.head_bytes or len(self.headers) > self.limits.head_lines:
            self._refusal = _too_large(self.limits)
            raise ValueError("a large head")
        super().on_headers_complete()
        self._waits_for, self._head_bytes = BODY, 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._waits_for, self._head_bytes = "", 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def _time_phase(self) -> None:
        """Let a timer run for what is waited for, from the moment that waiting began."""
        if self._waits_for == self._timed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timed, self._timer = self._waits_for, None
        if self._timed:
            seconds = self.limits.head_s if self._timed == HEAD else self.limits.body_s
            self._timer = self.loop.call_later(seconds, self._on_late)

    def _on_late(self) -> None:
        self._refuse(ModelportError("request_timeout", f"The {self._timed} of the request did not arrive in time."))

    def _make_room(self) -> None:
        """End the connection that has waited longest without a whole request; none of these has anything to lose."""
        waiting = [one for one in self.connections if isinstance(one, GuardedProtocol) and one._is_waiting]
        for oldest in sorted(waiting, key=lambda one: one._since)[:1]:
            busy = ModelportError("unavailable", "Too many connections.", headers={"Retry-After": "1"})
            oldest._refuse(busy, lingers=False)

    @property
    def _is_waiting(self) -> bool:
        return not self._is_refused and (bool(self._waits_for) or self.cycle is None or self.cycle.response_complete)

    @property
    def _may_answer(self) -> bool:
        """Whether an answer sent now would be taken for that of the request at fault."""
        if self.cycle is None or self.cycle.response_complete:
            return self._waits_for != BODY and self._head_bytes > 0
        return self._waits_for == BODY and not self.cycle.response_started and not self.pipeline

    def _refuse(self, error: ModelportError, *, lingers: bool = True) -> None:
        """Answer, where no answer has begun, and close; what still arrives is thrown away, for a reset would take the answer along."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        if not self._may_answer:
            self.transport.close()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_answer(error))
        if lingers:
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()


def guarded(limits: HttpLimits) -> type[GuardedProtocol]:
    """For `uvicorn.Config(http=…)`."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})


def _too_large(limits: HttpLimits) -> ModelportError:
    return ModelportError(
        "headers_too_large", f"More than {limits.head_bytes} bytes or {limits.head_lines} lines of headers."
    )


def _answer(error: ModelportError) -> bytes:
    body = msgspec.json.encode(describe(error, instance=""))
    extra = "".join(f"{name.lower()}: {value}\r\n" for name, value in error.headers.items())
    head = (
        f"HTTP/1.1 {error.status} {ERRORS[error.code].title}\r\ncontent-type: {PROBLEM_JSON}\r\n"
        f"content-length: {len(body)}\r\n{extra}connection: close\r\n\r\n"
    )
    return head.encode() + body
