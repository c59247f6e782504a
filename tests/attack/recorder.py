"""In Triton's place: a server that answers like it, or badly, and keeps every byte that reached it."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer

import msgspec

from bench import upstream

SECRET = (
    "shm region triton_python_backend_shm_region_4f50c226-b3d0-46e8-ac59-d4690b28b859 in /tmp/folderXYZ/1/model.onnx"
)
"""Of the kind that the published chain of attacks began with."""
OURS = {b"host", b"content-type", b"content-length", b"inference-header-content-length"}
HEAD = re.compile(rb"POST /v2/models/d-bench/infer HTTP/1\.1\r\n")


@dataclass
class Recorder:
    """`calls` are whole requests for the model, `strange` everything else; health is asked for by the proxy itself."""

    url: str = ""
    status: int = 200
    calls: list[bytes] = field(default_factory=list)
    strange: list[bytes] = field(default_factory=list)

    def take(self, head: bytes, body: bytes) -> bytes:
        """Keep a request and answer it."""
        if head == f"GET /v2/health/live HTTP/1.1\r\nHost: {self.url[7:]}".encode():
            return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        (self.calls if is_rebuilt(head, body) else self.strange).append(head + b"\r\n\r\n" + body)
        if self.status == 200:
            return upstream.answer()
        text = SECRET.encode()
        return f"HTTP/1.1 {self.status} No\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


def is_rebuilt(head: bytes, body: bytes) -> bool:
    """Whether this is the one call that the proxy composes: its line, its four headers, its JSON, one picture's pixels."""
    lines = head.split(b"\r\n")[1:]
    headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
    if not HEAD.match(head + b"\r\n") or set(headers) != OURS or len(lines) != len(OURS):
        return False
    length = int(headers[b"inference-header-content-length"])
    wanted = {
        "inputs": [
            {
                "name": "images",
                "shape": [1, 160, 160, 3],
                "datatype": "UINT8",
                "parameters": {"binary_data_size": 160 * 160 * 3},
            }
        ],
        "outputs": [{"name": upstream.OUTPUT, "parameters": {"binary_data": True}}],
    }
    return msgspec.json.decode(body[:length]) == wanted and len(body) - length == 160 * 160 * 3


@contextmanager
def recording() -> Iterator[Recorder]:
    """A running recorder on a port of its own."""
    made = Recorder()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while request := self._read():
                self.wfile.write(made.take(*request))

        def _read(self) -> tuple[bytes, bytes] | None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline(1 << 16)
                if not line:
                    if head:
                        made.strange.append(head)
                    return None
                head += line
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
            return head[:-4], self.rfile.read(int(length[1])) if length else b""

    class Threads(ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Threads(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()
