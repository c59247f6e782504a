"""The life of one sandbox, held by its first process: the kernel lets the init of a pid namespace go only after everything in it.

The process that bwrap leaves outside ends as soon as it knows the command's exit status, before that init is gone, and a process id may
be given out again; so bwrap names the init on one pipe, waits on another until a pidfd of it is open, and that pidfd tells the end.
"""

import asyncio
import os
import signal
from contextlib import suppress

import msgspec
from msgspec import Struct


class Told(Struct, frozen=True):
    """What bwrap writes to `--info-fd`."""

    init: int = msgspec.field(name="child-pid")


class Lifetime:
    """Let bwrap inherit `descriptors`, close them here, and await `begin`; then `kill` and `ended` hold for everything inside."""

    def __init__(self) -> None:
        self._info, told = os.pipe()
        waits, self._gate = os.pipe()
        self.descriptors = {"--info-fd": told, "--block-fd": waits}
        self.ended = asyncio.Event()
        self._init: int | None = None

    def abandon(self) -> None:
        """Where no bwrap could be started."""
        os.close(self._info)
        os.close(self._gate)
        self.ended.set()

    async def begin(self) -> None:
        """Hold the init and let the sandbox go on; one that came to nothing has ended."""
        reader = asyncio.StreamReader()
        pipe = os.fdopen(self._info, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            self._init = os.pidfd_open(msgspec.json.decode(await reader.read(), type=Told).init)
            loop.add_reader(self._init, self._end)
        except (msgspec.DecodeError, ProcessLookupError):
            pass
        finally:
            if (
                self._init is None
            ):  # also where no pidfd can be had: whoever kills bwrap must not wait for an end that nobody tells
                self.ended.set()
            transport.close()
            with suppress(BrokenPipeError):
                os.write(self._gate, b"\n")
            os.close(self._gate)

    def kill(self) -> None:
        """End everything inside; `ended` is set once the kernel has done so."""
        if self._init is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)

    def _end(self) -> None:
        assert self._init is not None
        asyncio.get_running_loop().remove_reader(self._init)
        os.close(self._init)
        self._init = None
        self.ended.set()
