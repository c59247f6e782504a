"""The published attacks on Triton's HTTP port, and their kin, as bytes that a client sends to the proxy.

Names and numbers are those of NVIDIA's bulletins; the inputs that Triton's own tests (L0_http, L0_shared_memory, L0_input_validation) call
dangerous are among them.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench.alone import Endpoint

REFUSED = frozenset({400, 401, 404, 405, 411, 413, 415, 422, 431, 501})
SERVED = frozenset({200})
"""An honest picture with an attack in its headers: the picture is answered, the attack stays at the proxy."""


@dataclass(frozen=True)
class Attack:
    """One request: `kind` groups the table of docs/security.md, `allowed` are the statuses that may come back."""

    kind: str
    name: str
    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    allowed: frozenset[int] = REFUSED
    is_framed: bool = False
    """Its headers say themselves where the body ends."""

    def request(self, host: str, key: str) -> bytes:
        """As it goes over the wire."""
        given = {"Host": host, "Authorization": f"Bearer {key}", **self.headers}
        if not self.is_framed and "Content-Length" not in given:
            given["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def all_attacks(endpoint: Endpoint, picture: bytes) -> list[Attack]:
    """Everything below, against one endpoint whose key the attacker owns: without one nothing gets further than this."""
    path = "/" + endpoint.url.split("/", 3)[3]
    found = [
        *_chain(path),
        *_control(),
        *_paths(path),
        *_framing(path, picture),
        *_bodies(path),
        *_headers(path, picture),
    ]
    return [*found, *_smuggled(path, picture)]


def _chain(path: str) -> Iterator[Attack]:
    region = "triton_python_backend_shm_region_4f50c226"
    infer = json.dumps(
        {"inputs": [_tensor(parameters={"shared_memory_region": region, "shared_memory_byte_size": 64})]}
    )
    kind = (
        "the chain CVE-2025-23319, -23320, -23334: an error names a memory region, which is then registered and written"
    )
    yield Attack(kind, "oversized request", "POST", "/v2/models/d-bench/infer", {}, b"x" * (1 << 20))
    yield Attack(
        kind, "region registered", "POST", f"/v2/systemsharedmemory/region/{region}/register", {}, infer.encode()
    )
    yield Attack(kind, "inference into the region", "POST", "/v2/models/d-bench/infer", {}, infer.encode())
    yield Attack(kind, "the same as our body", "POST", path, {"Content-Type": "application/json"}, infer.encode())
    for where in ("systemsharedmemory", "cudasharedmemory"):
        for what in ("status", "unregister", f"region/{region}/register", f"region/{region}/unregister"):
            yield Attack(kind, f"{where} {what}", "POST", f"/v2/{where}/{what}", {}, b"{}")


def _control() -> Iterator[Attack]:
    names = (
        "x",
        "..",
        "../../../tmp/x",
        "%2e%2e%2f%2e%2e",
        ";id",
        "$(id)",
        "`id`",
        "x%00",
        "x%0d%0aHost:%20a",
        "|sh",
        "x/versions/-1",
    )
    kind = "CVE-2025-23316, CVE-2026-47627: names in the model control API"
    for name in names:
        for act in ("load", "unload"):
            yield Attack(
                kind,
                f"{act} {name}",
                "POST",
                f"/v2/repository/models/{name}/{act}",
                {},
                b'{"parameters":{"config":"{}"}}',
            )
        yield Attack(kind, f"infer {name}", "POST", f"/v2/models/{name}/infer", {}, b"{}")
    kind = "everything else that Triton answers"
    targets = ("/v2/repository/index", "/v2", "/v2/health/ready", "/metrics", "/v2/logging", "/v2/trace/setting", "/v2/models/stats",
               "/v2/models/d-bench/config", "/v2/models/d-bench/stats", "/v2/models/d-bench/generate", "/v2/models/d-bench/generate_stream",
               "/v2/models/d-bench/trace/setting", "/v2/models/d-bench/versions/1/infer")  # fmt: skip
    for target in targets:
        for method in ("GET", "POST"):
            yield Attack(kind, f"{method} {target}", method, target, {}, b"")


def _paths(path: str) -> Iterator[Attack]:
    kind = "CVE-2026-24207, CVE-2026-47627: other spellings of a path"
    target = "/v2/repository/index"
    spellings = (
        f"{path}/../../..{target}", f"{path}/%2e%2e/%2e%2e/%2e%2e{target}", f"/v1/infer/..{target}", f"/v1/infer/%2e%2e/%2e%2e{target}",
        f"{path}%2f..%2f..%2f..{target}", f"{path}\\..\\..\\..{target}", f"{path}/..;/..;{target}", f"{path}%00{target}", f"{path}%0a{target}",
        f"{path}%c0%ae%c0%ae{target}", f"{path}?/../..{target}", f"{path}#{target}", f"/{target}", f"//127.0.0.1{target}",
        f"http://127.0.0.1:8000{target}", "/v2%2frepository%2findex", "/%76%32/repository/index", "/V2/repository/index",
        "/v2/./repository/index", "/v2/repository/index/", "/v2/repository/index%20", f"{path}/infer", f"{path}/", f"/v1/infer/{target}",
    )  # fmt: skip
    for spelling in spellings:
        yield Attack(kind, spelling.replace(path, "OURS"), "POST", spelling, {"Content-Type": "image/jpeg"}, b"{}")
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "PROPFIND"):
        yield Attack(kind, f"{method} of our path", method, path)
    yield Attack(kind, "CONNECT to Triton", "CONNECT", "127.0.0.1:8000")
    yield Attack(kind, "HTTP/2 preface", "PRI", "*", {}, b"SM\r\n\r\n")


def _framing(path: str, picture: bytes) -> Iterator[Attack]:
    kind = "CVE-2025-23310, -23311: very many tiny chunks"
    chunked = {"Transfer-Encoding": "chunked"}
    dust = b"1\r\nx\r\n" * 65_537 + b"0\r\n\r\n"
    for target in ("/v2/models/d-bench/infer", "/v2/repository/index"):
        yield Attack(kind, f"65,537 chunks to {target}", "POST", target, chunked, dust, is_framed=True)
    for media in ("image/jpeg", "application/json", "multipart/form-data; boundary=b"):
        headers = {**chunked, "Content-Type": media}
        yield Attack(kind, f"65,537 chunks as {media}", "POST", path, headers, dust, is_framed=True)
    kind = "CVE-2026-24158: compressed payloads"
    bomb = bytes(64 << 20)
    for coding, packed in (
        ("gzip", gzip.compress(bomb, 9)),
        ("deflate", zlib.compress(bomb, 9)),
        ("br", b"\x0b\x00\x80\x03"),
    ):
        headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
        yield Attack(kind, f"64 MiB in {len(packed)} bytes of {coding}", "POST", path, headers, packed)
        yield Attack(
            kind, f"{coding} around a picture", "POST", path, headers | {"Content-Type": "image/jpeg"}, picture
        )


def _bodies(path: str) -> Iterator[Attack]:
    kind = "Triton's own list of dangerous inputs, as our body"
    media = {"Content-Type": "application/json"}
    tensors = {
        "negative dimension": _tensor(shape=[-1, 3, 32, 32]),
        "dimensions that overflow": _tensor(shape=[2**31, 2**31, 2**31]),
        "dimension of 2**63": _tensor(shape=[2**63]),
        "negative binary_data_size": _tensor(parameters={"binary_data_size": -1}),
        "giant binary_data_size": _tensor(parameters={"binary_data_size": 2**62}),
        "string for a number": _tensor(datatype="BYTES", shape=["1"]),
    }
    for name, tensor in tensors.items():
        yield Attack(kind, name, "POST", path, media, json.dumps({"inputs": [tensor]}).encode())
    output = {"name": "output0", "parameters": {"binary_data": True}}
    more: dict[str, object] = {
        "an output twice": {"inputs": [_tensor()], "outputs": [output] * 2},
        "100,000 outputs": {"outputs": [output] * 100_000},
        "sequence parameters": {"image": "", "parameters": {"sequence_id": 1, "sequence_start": True}},
        "classification parameter": {"image": "", "outputs": [{"parameters": {"classification": 2**31}}]},
        "a model's name": {"image": "", "model_name": "../other"},
    }
    for name, body in more.items():
        yield Attack(kind, name, "POST", path, media, json.dumps(body).encode())
    nested = {"arrays": (b"[", b"]"), "objects": (b'{"image":', b"}")}
    for name, (left, right) in nested.items():
        yield Attack(kind, f"100,000 nested {name}", "POST", path, media, left * 100_000 + b"1" + right * 100_000)
        yield Attack(kind, f"{name} that never end", "POST", path, media, left * 100_000)
    form = b'--b\r\nContent-Disposition: form-data; name="inputs"; filename="../../1/model.onnx"\r\n\r\nx\r\n--b--\r\n'
    yield Attack(kind, "form with inputs", "POST", path, {"Content-Type": "multipart/form-data; boundary=b"}, form)


def _headers(path: str, picture: bytes) -> Iterator[Attack]:
    kind = "headers that Triton obeys, around an honest picture"
    for value in ("-1", "0", "4", "99999999999999999999", "abc"):
        yield _honest(kind, "Inference-Header-Content-Length", value, path, picture)
    given = {
        "triton-admin": "1", "triton-protected-api": "key", "triton-timeout": "0", "X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/v2/repository/index",
        "X-Rewrite-URL": "/v2/repository/index", "X-Forwarded-Host": "127.0.0.1:8000", "X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1",
        "Connection": "keep-alive, Authorization, Content-Length", "Upgrade": "h2c", "TE": "trailers", "Accept-Encoding": "gzip", "Cookie": "a=b",
        "grpc-timeout": "1n", "Via": "1.1 x", "Expect": "100-continue",
    }  # fmt: skip
    for name, value in given.items():
        yield _honest(kind, name, value, path, picture)
    kind = "other parameters of the query"
    for query in (
        "shared_memory_region=x",
        "parameters=%7B%7D",
        "outputs=a&outputs=a",
        "model_version=-1",
        "id=%0d%0aHost:a",
    ):
        yield Attack(kind, query, "POST", f"{path}?{query}", {"Content-Type": "image/jpeg"}, picture)


def _smuggled(path: str, picture: bytes) -> Iterator[Attack]:
    kind = "a second request hidden in the first"
    inner = b"POST /v2/repository/models/x/load HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    media = {"Content-Type": "image/jpeg"}
    both = {"Content-Length": str(len(picture)), "Transfer-Encoding": "chunked", **media}
    either = frozenset({*REFUSED, 200})
    yield Attack(kind, "length and chunks", "POST", path, both, b"0\r\n\r\n" + inner, is_framed=True)
    yield Attack(
        kind,
        "odd transfer coding",
        "POST",
        path,
        {"Transfer-Encoding": "xchunked", **media},
        b"0\r\n\r\n" + inner,
        is_framed=True,
    )
    yield Attack(
        kind, "two lengths", "POST", path, {"Content-Length": "0\r\nContent-Length: 10", **media}, inner, is_framed=True
    )
    yield Attack(kind, "folded header", "POST", path, {"X": "a\r\n Transfer-Encoding: chunked", **media}, inner)
    yield Attack(kind, "negative length", "POST", path, {"Content-Length": "-1", **media}, inner, is_framed=True)
    yield Attack(kind, "giant length", "POST", path, {"Content-Length": "9" * 30, **media}, inner, is_framed=True)
    yield Attack(
        kind,
        "giant chunk",
        "POST",
        path,
        {"Transfer-Encoding": "chunked", **media},
        b"FFFFFFFFFFFFFFFFF\r\n" + inner,
        is_framed=True,
    )
    yield Attack(kind, "behind a picture", "POST", path, media, picture + inner, either)
    yield Attack(
        kind,
        "right after the request",
        "POST",
        path,
        {"Content-Length": str(len(picture)), **media},
        picture + inner,
        either,
    )


def _honest(kind: str, header: str, value: str, path: str, picture: bytes) -> Attack:
    headers = {"Content-Type": "image/jpeg", header: value}
    return Attack(kind, f"{header}: {value}", "POST", path, headers, picture, SERVED)


def _tensor(**changes: object) -> dict[str, object]:
    return {"name": "images", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": [0], **changes}
