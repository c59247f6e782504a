"""A real HTTP server that answers what a test tells it to, and remembers what it was asked."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

JOB_ID = "8d5e1f3c-0000-4000-8000-000000000001"
TRAINING_ID = "8d5e1f3c-0000-4000-8000-000000000002"
DEPLOYMENT_ID = "8d5e1f3c-0000-4000-8000-000000000003"


@dataclass
class Reply:
    """One answer; `cut` ends the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        decoded: dict[str, object] = json.loads(self.body)
        return decoded


class Server:
    """`reply` queues answers for a route; the last one of a route is given for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._replies: defaultdict[tuple[str, str], list[Reply]] = defaultdict(list)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def reply(self, method: str, path: str, *replies: Reply) -> None:
        self._replies[method, path].extend(replies)

    def json(self, method: str, path: str, body: object, status: int = 200) -> None:
        self.reply(method, path, Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"}))

    def of(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _next(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        waiting = self._replies.get((asked.method, asked.path))
        if not waiting:
            return Reply(404, b'{"code": "not_found", "detail": "There is no such thing."}')
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._next

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = answer(Asked(self.command, parts.path, parse_qs(parts.query), headers, body))
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body[: reply.cut])
                if reply.cut is not None:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # names of http.server

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def sleeps() -> list[float]:
    """What a `Transport` made with `sleeps.append` would have slept."""
    return []


@pytest.fixture
def job() -> Callable[..., dict[str, object]]:
    """An ExportJob as the gateway answers it."""

    def make(**changes: object) -> dict[str, object]:
        known: dict[str, object] = {
            "id": JOB_ID,
            "training_job_id": TRAINING_ID,
            "version": 1,
            "export_format": "onnx",
            "framework": "ultralytics",
            "task_type": "object_detection",
            "status": "pending",
            "created_at": "2026-11-23T09:00:00Z",
            "a_field_of_a_newer_server": 1,
        }
        return known | changes

    return make


@pytest.fixture
def deployment() -> Callable[..., dict[str, object]]:
    """A DeploymentTarget as the gateway answers it."""

    def make(**changes: object) -> dict[str, object]:
        known: dict[str, object] = {
            "id": DEPLOYMENT_ID,
            "export_job_id": JOB_ID,
            "deployment_type": "platform_endpoint",
            "name": "shapes",
            "status": "active",
        }
        return known | changes

    return make


@pytest.fixture
def environment(server, monkeypatch, tmp_path):
    """The command's variables, as those of a stack that this server plays."""
    monkeypatch.setenv("MODELPORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELPORT_URL", server.url)
    monkeypatch.setenv("MODELPORT_TOKEN", "mp_t")
    monkeypatch.setenv("MODELPORT_PROXY_URL", server.url)
    monkeypatch.delenv("MODELPORT_API_KEY", raising=False)
