"""Stands in for `export_worker.child`: each deed is something that a hostile or broken checkpoint could do."""

import ctypes
import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

NODE = b"\x0a\x01x\x12\x01y\x22\x03Neg"
GRAPH = b"\x0a" + bytes([len(NODE)]) + NODE
MODEL = b"\x08\x08\x3a" + bytes([len(GRAPH)]) + GRAPH
"""The smallest ONNX file: one `Neg`."""


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


def succeed() -> None:
    say(type="progress", stage="load", fraction=1.0, message="loaded")
    say(type="progress", stage="convert", fraction=0.5)
    Path("output/model.onnx").write_bytes(b"onnx")
    Path("output/metadata.json").write_text("{}")
    Path("output/parity_report.json").write_text("{}")
    Path("output/golden_vectors.safetensors").write_bytes(b"npz")
    say(type="done", durations_s={"load": 0.25, "convert": 0.5})
    time.sleep(60)


def export() -> None:
    """What a good child does; the metadata's pattern is the second argument."""
    request = json.loads(Path("request.json").read_text())["request"]
    metadata = json.loads(sys.argv[2])
    metadata["model_info"] = {
        k: request[k] for k in ("framework", "task_type", "model_name", "export_format", "version")
    }
    metadata["provenance"]["checkpoint_sha256"] = "0" * 64
    for stage in ("load", "convert", "verify"):
        for tenth in range(10):
            say(type="progress", stage=stage, fraction=tenth / 10, message=f"{stage} {tenth}")
            time.sleep(0.02)
    print("converted", file=sys.stderr)
    Path("output/model.onnx").write_bytes(MODEL)
    Path("output/metadata.json").write_text(json.dumps(metadata))
    Path("output/parity_report.json").write_text('{"proof": "verified"}')
    Path("output/golden_vectors.safetensors").write_bytes(b"npz")
    say(type="done", durations_s={"load": 0.2, "convert": 0.2, "verify": 0.2})


def list_input() -> None:
    found = sorted(str(path.relative_to("input")) for path in Path("input").rglob("*") if path.is_file())
    say(type="error", code="conversion_failed", message=" ".join(found))
    sys.exit(1)


def fail_parity() -> None:
    Path("output/parity_report.json").write_text('{"proof": "failed"}')
    say(type="error", code="parity_failed", message="output0 differs", stage="verify", operator="output0")
    sys.exit(1)


def link_outputs() -> None:
    Path("output/model.onnx").symlink_to("/etc/shadow")
    say(type="done")


def fail() -> None:
    say(type="progress", stage="convert", fraction=0.1)
    say(type="error", code="unsupported_operator", message="no such operator", operator="/m/Foo", cause="boom")
    sys.exit(1)


def forge_code() -> None:
    say(type="error", code="quota_exceeded", message="a" * 5000 + "\u202e\x1b[31m", stage="package", hint="x")
    sys.exit(1)


def crash() -> None:
    say(type="progress", stage="convert", fraction=0.1)
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def quit_silently() -> None:
    sys.exit(0)


def raise_error() -> None:
    raise RuntimeError("unhandled")


def hang() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
    while True:
        time.sleep(1)


def orphan() -> None:
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        os._exit(0)
    os.wait()
    say(type="error", code="conversion_failed", message="a daemon stays")
    time.sleep(600)


def allocate() -> None:
    hold = []
    while True:
        hold.append(bytearray(os.urandom(1 << 20) * 16))


def allocate_at_once() -> None:
    try:
        bytearray(10 << 30)
    except MemoryError as error:
        say(type="error", code="conversion_failed", message="no memory", cause=repr(error))
        sys.exit(1)


def allocate_shared() -> None:
    hold = []
    while True:
        block = mmap.mmap(-1, 64 << 20)
        block.write(b"\1" * (64 << 20))
        hold.append(block)


def allocate_in_children() -> None:
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            block = bytearray(b"\1" * (100 << 20))
            time.sleep(60)
            del block
    time.sleep(60)


def fork_bomb() -> None:
    made = 0
    try:
        while made < 5000:
            if os.fork() == 0:
                time.sleep(60)
            made += 1
    except OSError as error:
        say(type="error", code="conversion_failed", message=f"{made} processes", cause=str(error))
        sys.exit(1)


def giant_file() -> None:
    with Path("output/model.onnx").open("wb") as file:
        try:
            while True:
                file.write(b"\0" * (1 << 20))
                file.flush()
        except OSError as error:
            say(type="error", code="conversion_failed", message="file", cause=str(error))
            sys.exit(1)


def many_files() -> None:
    for number in range(10_000):
        Path(f"tmp/{number}").write_bytes(b"\1" * (4 << 20))
        time.sleep(0.005)


def unlinked_files() -> None:
    hold = []
    while len(hold) < 64:
        hold.append(os.open("tmp/gone", os.O_WRONLY | os.O_CREAT))
        Path("tmp/gone").unlink()
        os.write(hold[-1], b"\1" * (16 << 20))
    time.sleep(600)


def garbage() -> None:
    sys.stdout.buffer.write(b'\xff\xfe\x00 not json\n[1,2\n{"type":"done"\n')
    sys.stdout.buffer.write(b'{"type":"progress","stage":"package","fraction":0.9}\n')
    sys.stdout.buffer.write(b'{"type":"progress","stage":"load","fraction":7}\n')
    sys.stdout.buffer.write(b"[" * 50_000 + b"\n")
    sys.stdout.buffer.write(b"x" * (1 << 20) + b"\n")
    sys.stdout.buffer.flush()
    succeed()


def giant_log() -> None:
    sys.stderr.write("first words\n")
    for _ in range(100):
        sys.stderr.write("y" * (1 << 20))
    sys.stderr.write("\nlast words\n")
    sys.stderr.flush()
    succeed()


def find_secret(path: str) -> None:
    Path(path).read_bytes().index(b"secret")


def read(path: str) -> object:
    return list(Path(path).iterdir()) if Path(path).is_dir() else Path(path).read_bytes()


def snoop() -> None:
    """Try every way out; what worked is told in the message, so that the test sees an empty list."""
    escapes: list[str] = []

    def attempt(name: str, deed: Callable[[], object]) -> None:
        try:
            deed()
        except (OSError, ValueError):
            return
        escapes.append(name)

    targets = json.loads(Path("request.json").read_text())
    for path in ("/proc/1/environ", "/proc/self/environ", f"/proc/{os.getppid()}/environ"):
        attempt(f"secret in {path}", partial(find_secret, path))
    for path in ("/etc/shadow", "/etc/passwd", "/root/.ssh", "/proc/1/root/etc/shadow", *targets["paths"]):
        attempt(f"read {path}", partial(read, path))
    for path in ("/x", "/usr/x", "/etc/x", "/dev/x", "input/x", sys.prefix + "/x", "/proc/sys/kernel/core_pattern"):
        attempt(f"write {path}", partial(os.open, path, os.O_WRONLY | os.O_CREAT))
    for address in (("127.0.0.1", targets["port"]), ("169.254.169.254", 80), ("10.0.0.1", 53)):
        attempt(f"connect {address}", partial(socket.create_connection, address, timeout=1))
    for path in targets["sockets"]:
        attempt(f"unix {path}", lambda path=path: socket.socket(socket.AF_UNIX).connect(path))
    attempt("loopback", partial(socket.create_server, ("127.0.0.1", 0)))
    attempt("socket pair", socket.socketpair)
    attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    attempt("netlink socket", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
    attempt("hard link", lambda: os.link(sys.executable, "output/link"))
    attempt("mknod", lambda: os.mknod("output/device", 0o600 | 0o060000, os.makedev(254, 0)))
    attempt("setuid", lambda: os.setuid(0))
    attempt("kill init", lambda: os.kill(1, 0) if os.getuid() == 0 else os.setuid(0))
    libc = ctypes.CDLL(None, use_errno=True)
    for name, arguments in {
        "unshare": (0x10000000,),
        "mount": (b"none", b"/job", b"tmpfs", 0, None),
        "ptrace": (16, os.getppid(), None, None),
        "chroot": (b"/job",),
        "setns": (0, 0),
        "memfd_create": (b"x", 0),
    }.items():
        if getattr(libc, name)(*arguments) != -1:
            escapes.append(name)
    secrets = [name for name in os.environ if "MODELPORT" in name or "SECRET" in name or "TOKEN" in name]
    say(type="error", code="conversion_failed", message=json.dumps(escapes + secrets))
    sys.exit(1)


def who() -> None:
    say(type="error", code="conversion_failed", message=json.dumps({"uid": os.getuid(), "env": sorted(os.environ)}))
    sys.exit(1)


if __name__ == "__main__":
    say(type="ready")
    sys.stdin.readline()
    globals()[os.environ.get("DEED") or sys.argv[1]]()
