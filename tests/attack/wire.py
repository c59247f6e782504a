"""Requests that no HTTP library would send: bytes out, bytes back."""

import json
import socket
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

PATIENCE_S = 120.0


class Said(NamedTuple):
    """The first answer on a connection; status 0 where the server closed without a word."""

    status: int
    headers: str
    body: bytes

    @property
    def code(self) -> str:
        """The problem's code; empty where the answer is none."""
        return str(json.loads(self.body)["code"]) if "problem+json" in self.headers else ""


def raw(url: str, data: bytes) -> Said:
    """Send bytes as they are and read until the server closes or its first answer is whole."""
    with dial(url) as connection:
        with suppress(OSError):  # refused before all of it was sent: what counts is the answer
            connection.sendall(data)
        return listen(connection)


def dial(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S)


def listen(connection: socket.socket) -> Said:
    said = b""
    while not _is_whole(said):
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            break
        said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    return Said(status, head.decode("latin-1").lower(), body)


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole request; names of headers with _ for -."""
    lines = {"Host": "localhost", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def resident(stack: Any, service: str) -> int:
    """Bytes of memory that a service holds."""
    return int(psutil.Process(stack.about.processes[service]).memory_info().rss)


def _is_whole(said: bytes) -> bool:
    head, found, body = said.partition(b"\r\n\r\n")
    if not found:
        return False
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return b"content-length" in lines and len(body) >= int(lines[b"content-length"])
