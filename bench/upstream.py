"""`python -m bench.upstream PORT MILLISECONDS`: what the proxy's upstream would be if a model took exactly that long.

Speaks as much HTTP as our own call needs and answers like Triton, for a detector of 160 px; so what is measured around it is the proxy's alone.
"""

import asyncio
import json
import sys
from typing import cast

import numpy as np
import uvloop

OUTPUT = "output0"
ANCHORS, CLASSES = 525, 3
FOUND = ((40.0, 40.0), (80.0, 80.0), (120.0, 60.0))
"""Centres of the boxes that every answer holds, in pixels of the model's input."""


def answer() -> bytes:
    """A whole HTTP answer: float32 [1, 4 + classes, anchors] with three boxes."""
    output = np.zeros((1, 4 + CLASSES, ANCHORS), np.float32)
    for index, (x, y) in enumerate(FOUND):
        output[0, :4, index] = x, y, 30.0, 30.0
        output[0, 4 + index, index] = 0.9
    described = {
        "name": OUTPUT,
        "datatype": "FP32",
        "shape": output.shape,
        "parameters": {"binary_data_size": output.nbytes},
    }
    head = json.dumps({"model_name": "m", "model_version": "1", "outputs": [described]}).encode()
    lines = (
        "HTTP/1.1 200 OK",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(head) + output.nbytes}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + head + output.tobytes()


class Upstream(asyncio.Protocol):
    """One connection: reads a request to its end, waits, answers; a GET is answered at once."""

    def __init__(self, reply: bytes, delay_s: float) -> None:
        self._reply, self._delay_s = reply, delay_s
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, _ = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(self._received) < len(head) + 4 + length:
            return
        self._received.clear()
        delay_s = self._delay_s if head.startswith(b"POST") else 0.0
        asyncio.get_running_loop().call_later(delay_s, self._send)

    def _send(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._reply)


async def serve(port: int, delay_s: float) -> None:
    """Until the process is ended."""
    reply = answer()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(reply, delay_s), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
