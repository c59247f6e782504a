"""Faults of the network: links are small TCP proxies between a service and a server, and each fault is a plain function on one.

What a fault does to connections that are open, and to those that are opened while it lasts, stands in its docstring;
`heal` ends all of them. A connection that was stalled or cut stays so: only what is opened afterwards is well.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
CHUNK = 64 << 10
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Toxics:
    """What a link does to the bytes of all its connections; nothing by default."""

    refuses: bool = False
    resets: bool = False
    stalls: bool = False
    latency_s: float = 0.0
    bytes_per_s: float = 0.0
    piece: int = 0
    limit: int = 0


@dataclass(eq=False)
class Connection:
    """One client's connection and the one behind it; `is_stalled` for ever swallows everything, its end included."""

    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    is_stalled: bool = False
    passed: int = 0

    def cut(self, *, reset: bool) -> None:
        for writer in self.writers:
            if reset and (sock := writer.get_extra_info("socket")) is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            writer.transport.abort()


class Link:
    """Listens on `port` and forwards to `target` on loopback."""

    def __init__(self, target: int, loop: asyncio.AbstractEventLoop) -> None:
        self.target = target
        self.toxics = Toxics()
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._loop = loop
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.cut(reset=False)

    def do(self, action: Callable[[], None]) -> None:
        """Run an action on the link's own thread and wait for it."""
        done = threading.Event()

        def run() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(30), "the links' thread hangs"

    def set_flow(self, *, flows: bool) -> None:
        (self._flows.set if flows else self._flows.clear)()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection([writer], is_stalled=self.toxics.stalls)
        self.accepted += 1
        self.connections.add(connection)
        try:
            if self.toxics.refuses or self.toxics.resets:
                connection.cut(reset=self.toxics.resets)
                return
            if not connection.is_stalled:
                await self._flows.wait()
            behind, to_behind = await asyncio.open_connection(LOOPBACK, self.target)
            connection.writers.append(to_behind)
            await asyncio.gather(self._pump(reader, to_behind, connection), self._pump(behind, writer, connection))
        except OSError:
            connection.cut(reset=False)
        finally:
            connection.cut(reset=False)
            self.connections.discard(connection)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> None:
        """Pass bytes on until the sender ends; what a stalled connection's server says, its end included, is swallowed."""
        client = connection.writers[0]
        while data := await reader.read(self.toxics.piece or CHUNK):
            await self._flows.wait()
            if connection.is_stalled:
                continue
            await self._slow_down(len(data))
            connection.passed += len(data)
            if self.toxics.limit and connection.passed > self.toxics.limit:
                connection.cut(reset=False)
                return
            writer.write(data)
            await writer.drain()
        is_from_client = writer is not client
        if is_from_client or not connection.is_stalled:
            connection.cut(reset=False)

    async def _slow_down(self, size: int) -> None:
        pause = self.toxics.latency_s
        if self.toxics.bytes_per_s:
            pause += size / self.toxics.bytes_per_s
        if pause:
            await asyncio.sleep(pause)


class Links:
    """The thread in which links run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._made: list[Link] = []

    def make(self, target: int) -> Link:
        """A healthy link to a port of this machine."""
        link = Link(target, self._loop)
        asyncio.run_coroutine_threadsafe(link.open(), self._loop).result(30)
        self._made.append(link)
        return link

    def close(self) -> None:
        for link in self._made:
            asyncio.run_coroutine_threadsafe(link.close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)


@contextmanager
def links() -> Iterator[Links]:
    made = Links()
    try:
        yield made
    finally:
        made.close()


def down(link: Link) -> None:
    """Open connections are closed, new ones are closed at once."""
    _change(link, refuses=True)
    link.do(lambda: _cut(link, reset=False))


def reset_peer(link: Link) -> None:
    """Open connections are reset (RST), new ones too."""
    _change(link, resets=True)
    link.do(lambda: _cut(link, reset=True))


def timeout(link: Link) -> None:
    """Half-open: what either side says is swallowed for ever, on open connections and on new ones, and nobody is told."""
    _change(link, stalls=True)

    def stall() -> None:
        for connection in link.connections:
            connection.is_stalled = True

    link.do(stall)


def partition(link: Link) -> None:
    """Nothing arrives while it lasts; afterwards everything that was on its way does, as TCP promises."""
    link.do(lambda: link.set_flow(flows=False))


def latency(link: Link, seconds: float) -> None:
    """Every piece of data comes so much later."""
    _change(link, latency_s=seconds)


def bandwidth(link: Link, bytes_per_s: float) -> None:
    """No more than this passes in each direction of a connection."""
    _change(link, bytes_per_s=bytes_per_s)


def slicer(link: Link, size: int) -> None:
    """Data arrives in pieces of this many bytes."""
    _change(link, piece=size)


def limit_data(link: Link, limit: int) -> None:
    """Each connection is cut when so many bytes have passed, those that had passed before included."""
    _change(link, limit=limit)


def heal(link: Link) -> None:
    """New connections are well again, and so are open ones unless they were stalled or cut."""
    link.toxics = Toxics()
    link.do(lambda: link.set_flow(flows=True))


def _change(link: Link, **changes: object) -> None:
    for name, value in changes.items():
        setattr(link.toxics, name, value)


def _cut(link: Link, *, reset: bool) -> None:
    for connection in tuple(link.connections):
        connection.cut(reset=reset)
