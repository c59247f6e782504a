"""Bodies, headers and paths that are too large, too deep, ambiguous or not text: a clear refusal, and the service lives on."""

import gzip
import json
from collections.abc import Iterator

import pytest

from tests.attack import matrix, wire
from tests.attack.wire import request

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(600)]

MIB = 1 << 20
DEEP = b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
JOBS = "/api/v1/export/jobs"


@pytest.fixture(autouse=True)
def bounded(stack) -> Iterator[None]:
    """Whatever was sent, memory stays, and everybody else is served."""
    before = {face: wire.resident(stack, face) for face in ("gateway", "inference-proxy")}
    yield
    for face, was in before.items():
        assert wire.resident(stack, face) - was <= 96 * MIB, face
    assert wire.raw(stack.about.gateway_url, request("GET", "/healthz")).status == 200
    assert wire.raw(stack.about.proxy_url, request("GET", "/healthz")).status == 200


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[first : first + size] for first in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def chunked_request(path: str, body: bytes, token: str, size: int, media: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {media}\r\n"
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunked(body, size)


UPLOAD = {"filename": "a.pt", "size_bytes": 1, "sha256": "0" * 64}
TEXT = json.dumps(UPLOAD)
BODIES = {
    "empty": (b"", 400),
    "nested a hundred thousand times": (DEEP, (400, 413)),
    "an object nested a hundred thousand times": (b'{"a":' * 100_000, (400, 413)),
    "UTF-16": (TEXT.encode("utf-16"), 400),
    "UTF-32": (TEXT.encode("utf-32"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + TEXT.encode(), 400),
    "invalid UTF-8": (TEXT.encode().replace(b"a.pt", b"\xff\xfe.pt"), 400),
    "overlong UTF-8": (TEXT.encode().replace(b"a.pt", b"\xc0\xaf.pt"), 400),
    "a lone surrogate": (TEXT.encode().replace(b"a.pt", rb"\ud800.pt"), 400),
    "a surrogate in UTF-8": (TEXT.encode().replace(b"a.pt", b"\xed\xa0\x80.pt"), 400),
    "NUL": (TEXT.encode().replace(b"a.pt", rb"\u0000.pt"), 400),
    "a number of a million digits": (TEXT.encode().replace(b": 1,", b": " + b"9" * 1_000_000 + b","), (400, 413)),
    "an endless exponent": (TEXT.encode().replace(b": 1,", b": 1e999999999,"), 400),
    "compressed": (gzip.compress(TEXT.encode()), 400),
    "two documents": (TEXT.encode() * 2, 400),
    "too large": (b'{"filename": "' + b"x" * (5 * MIB) + b'"}', 413),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_the_gateway(stack, thief, name) -> None:
    body, wanted = BODIES[name]
    said = wire.raw(
        stack.about.gateway_url, request("POST", "/api/v1/uploads", body, Authorization=f"Bearer {thief.token}")
    )
    assert said.status in (wanted if isinstance(wanted, tuple) else (wanted,)), said
    assert said.code


def test_of_two_keys_the_last_one_counts(gateway, thief) -> None:
    """There is one reader only, so that nobody can be told something else than the next."""
    body = TEXT.replace('"a.pt"', '"a.pt", "filename": "b.pt"')
    answer = gateway.post("/api/v1/uploads", content=body, headers={"Authorization": f"Bearer {thief.token}"})
    assert answer.json()["uri"].endswith("/b.pt")


@pytest.mark.parametrize("size", [1, 65_536])
def test_chunks_are_counted(stack, thief, victim, size) -> None:
    """65,537 chunks of one byte, and a body that never says how long it will be."""
    small, large = b"x" * 65_537, b"x" * (12 * MIB)
    body = small if size == 1 else large
    said = wire.raw(
        stack.about.gateway_url, chunked_request("/api/v1/uploads", body, thief.token, size, "application/json")
    )
    assert (said.status, said.code) == (413, "payload_too_large")
    path = f"/v1/infer/{victim.ids['deployment_id']}"
    said = wire.raw(stack.about.proxy_url, chunked_request(path, body, victim.api_key, size, "image/png"))
    assert said.status == (400 if size == 1 else 413)


def test_bodies_of_the_proxy(stack, victim) -> None:
    path = f"/v1/infer/{victim.ids['deployment_id']}"
    sent = {
        "nested": (DEEP, "application/json", {}, 400),
        "UTF-16": ('{"image": "AAAA"}'.encode("utf-16"), "application/json", {}, 400),
        "a lone surrogate": (rb'{"image": "\ud800"}', "application/json", {}, 400),
        "compressed": (gzip.compress(b"x" * MIB), "image/png", {"Content_Encoding": "gzip"}, 415),
        "too large": (b"x" * (11 * MIB), "image/png", {}, 413),
        "another type": (b"<x/>", "application/xml", {}, 415),
        "no type": (b"x", "", {}, 415),
        "no boundary": (b"x", "multipart/form-data", {}, 400),
        "a number too much": (b'{"image": "AAAA", "top_k": 1e999}', "application/json", {}, 400),
    }
    for name, (body, media, headers, wanted) in sent.items():
        data = request("POST", path, body, Authorization=f"Bearer {victim.api_key}", Content_Type=media, **headers)
        said = wire.raw(stack.about.proxy_url, data)
        assert (said.status, bool(said.code)) == (wanted, True), (name, said)


PATHS = (
    "//api/v1/users",
    "/api/v1//users",
    "/api/v1/users/",
    "/api/v1/export/../users",
    "/api/v1/export/%2e%2e/users",
    "/api/v1/export/..%2fusers",
    "/%61pi/v1/users",
    "/api/v1/users%00",
    "/api/v1/users%2f",
    "/api/v1/users;admin=1",
    "/api/v1/users?limit=1#x",
    "/api/v1/users/%ff",
    "/API/V1/USERS",
    "/schema/../api/v1/users",
    "/schema/%2e%2e/api/v1/users",
    "/schema/openapi.json/../../api/v1/users",
    "http://localhost/api/v1/users",
    "http://localhost:1/api/v1/users",
    "*",
    "/v1/infer/../../v2/models",
    "/v1/infer/%2e%2e/%2e%2e/v2/models",
    "//v2/models",
    "/v2/repository/index",
)


@pytest.mark.parametrize("path", PATHS)
def test_no_spelling_of_a_path_opens_anything(stack, path) -> None:
    """The routes that need no token cannot be used as a way to those that do."""
    for url in (stack.about.gateway_url, stack.about.proxy_url):
        for method in ("GET", "POST"):
            said = wire.raw(url, request(method, path))
            assert said.status in (400, 401, 404, 405), (path, said)
            assert said.code


def test_headers_change_neither_path_nor_method(stack, thief) -> None:
    url, token = stack.about.gateway_url, f"Bearer {thief.token}"
    tricks = {
        "X_HTTP_Method_Override": "DELETE",
        "X_Original_URL": "/api/v1/users",
        "X_Rewrite_URL": "/api/v1/users",
        "X_Forwarded_Prefix": "/api/v1/users",
        "X_Forwarded_For": "127.0.0.1",
        "X_User_Id": "admin",
    }
    said = wire.raw(url, request("GET", "/api/v1/users/me", Authorization=token, **tricks))
    assert json.loads(said.body)["name"] == "thief"
    said = wire.raw(url, request("GET", "/api/v1/users", Authorization=token, **tricks))
    assert said.status == 403
    links = wire.raw(url, request("POST", "/api/v1/uploads", TEXT.encode(), Authorization=token, Host="evil.example"))
    assert (links.status, b"evil.example" in links.body) == (201, False)


@pytest.mark.parametrize("face", ["gateway_url", "proxy_url"])
@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_two_servers_would_read_differently_is_refused(stack, face, head) -> None:
    said = wire.raw(getattr(stack.about, face), head.encode("latin-1"))
    assert (said.status, said.code) == (400, "invalid_request")


@pytest.mark.parametrize("face", ["gateway_url", "proxy_url"])
def test_large_heads_are_refused(stack, face) -> None:
    url = getattr(stack.about, face)
    for data in (
        request("GET", "/healthz", X="a" * 40_000),
        request("GET", "/" + "a" * 40_000),
        request("GET", "/healthz", **{f"X{number}": "a" for number in range(200)}),
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * (8 * MIB),
    ):
        said = wire.raw(url, data)
        assert (said.status, said.code) == (431, "headers_too_large")


def test_methods_that_a_path_has_not(stack, thief) -> None:
    paths = {route.path for route in matrix.routes() if "{" not in route.path}
    for path in sorted(paths):
        for method in ("PUT", "TRACE", "PROPFIND"):
            said = wire.raw(stack.about.gateway_url, request(method, path, Authorization=f"Bearer {thief.token}"))
            assert said.status == 405, (method, path)
