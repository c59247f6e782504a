"""What runs inside the sandbox to prove it: each probe tries one thing that what runs inside must not be able to do. Standard library only.

`python probes.py probe` reads request.json in the job's folder and writes output/barriers.json: barrier -> how it was crossed, or nothing.
With the name of a limit for an argument it breaks that limit, and must be ended for it.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

JOB = Path("/job")
TOLD: dict[str, object] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
WRITABLE = {"/job", "/tmp", "/dev/shm", "/proc"}  # noqa: S108  (the sandbox' own)
MIB = 1 << 20
REFUSED = 17
"""Exit status of a command to which the kernel gave no more processes."""


def network() -> None:
    """No socket of any family, so neither the host's addresses nor a loopback of one's own."""
    port = int(str(TOLD["tcp_port"]))
    for address in (("127.0.0.1", port), ("169.254.169.254", 80)):
        refuse(f"connected to {address}", partial(socket.create_connection, address, timeout=1))
    refuse("listened on loopback", lambda: socket.create_server(("127.0.0.1", 0)))
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK):
        refuse(f"made a socket of {family.name}", partial(socket.socket, family, socket.SOCK_DGRAM))


def unix_sockets() -> None:
    for path in (str(TOLD["unix_path"]), f"\0{TOLD['abstract_name']}"):
        refuse(f"connected to {path!r}", partial(connect_unix, path))
    refuse("made a pair of sockets", socket.socketpair)


def environment() -> None:
    """No variable but its own, in no process that can be seen."""
    allowed = {*str(TOLD["variables"]).split(), "PWD", "LC_CTYPE"}
    claim(set(os.environ) <= allowed, f"sees the variables {sorted(set(os.environ) - allowed)}")
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            names = {part.split(b"=")[0].decode() for part in path.read_bytes().split(b"\0") if part}
        except OSError:
            continue
        claim(names <= allowed, f"sees the variables {sorted(names - allowed)} in {path}")


def processes() -> None:
    """The worker is not among the processes that can be seen, nor is anything else that was there before the sandbox."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        started = stat.read_text().rpartition(")")[2].split()[19]
        claim(int(started) > int(str(TOLD["started"])), f"sees the older process {stat.parent.name}")


def files() -> None:
    """Nothing of the host but the toolchain: not the run's own folder, no other job, no accounts."""
    for path in (str(TOLD["foreign_file"]), "/etc/passwd", "/etc/shadow", "/proc/1/root/etc/passwd", "/var/lib"):
        claim(not os.access(path, os.R_OK), f"reads {path}")


def read_only_toolchain() -> None:
    folders = (sys.prefix, sys.base_prefix, str(Path(__file__).parent), "/usr", "/", "/dev", "/job/input")
    for folder in folders:
        refuse(f"writes to {folder}", partial(os.open, f"{folder}/probe", os.O_WRONLY | os.O_CREAT))
    refuse("sets the kernel's variables", lambda: os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        is_device = where.startswith("/dev/") and kind in ("devtmpfs", "devpts", "tmpfs")
        writable = options.split(",")[0] == "rw" and where not in WRITABLE and not is_device
        claim(not writable, f"has {where} mounted for writing")


def job_folder() -> None:
    """The one place to write is there."""
    (JOB / "output" / "probe").write_text("x")
    (JOB / "output" / "probe").unlink()


def privileges() -> None:
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines() if line)
    status = {line[0].rstrip(":"): line[1:] for line in lines}
    claim(status["NoNewPrivs"] == ["1"], "may gain privileges")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        claim(int(status[name][0], 16) == 0, f"has capabilities: {name} {status[name][0]}")
    claim(os.getuid() != 0, "is root")
    refuse("becomes root", lambda: os.setuid(0))
    refuse("makes devices", lambda: os.mknod("/job/output/device", 0o600 | 0o060000, os.makedev(254, 0)))


def system_calls() -> None:
    """Every call that the filter denies is refused by it, whatever its arguments."""
    denied = TOLD["denied"]
    assert isinstance(denied, dict)
    claim(bool(denied), "has no filter for this machine")
    for name, number in denied.items():
        ctypes.set_errno(0)
        failed = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(0),) * 6) == -1
        claim(failed and ctypes.get_errno() == errno.EPERM, f"may call {name}")


def namespaces() -> None:
    for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000):
        claim(LIBC.unshare(flag) == -1, f"makes a namespace of its own ({flag:#x})")


def open_files() -> None:
    opened: list[int] = []
    try:
        while len(opened) <= int(str(TOLD["open_files"])):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return
    finally:
        for descriptor in opened:
            os.close(descriptor)
    claim(False, f"opened {len(opened)} files")


def descriptors() -> None:
    """Nothing inherited but the three standard streams."""
    found = sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())
    claim(len(found) <= 4 and found[:3] == [0, 1, 2], f"inherited {found}")


def file_size() -> None:
    size = int(str(TOLD["file_bytes"]))
    descriptor = os.open(JOB / "output" / "giant", os.O_RDWR | os.O_CREAT)
    try:
        refuse("writes past the limit of a file", lambda: os.pwrite(descriptor, b"x", size))
    finally:
        os.close(descriptor)
        (JOB / "output" / "giant").unlink()


def cpu_time() -> None:
    claim(resource.getrlimit(resource.RLIMIT_CPU)[1] != resource.RLIM_INFINITY, "may compute without end")
    claim(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, "writes core files")


PROBES: dict[str, Callable[[], None]] = {
    "network": network,
    "unix sockets": unix_sockets,
    "environment": environment,
    "processes": processes,
    "files": files,
    "read-only toolchain": read_only_toolchain,
    "job folder": job_folder,
    "privileges": privileges,
    "system calls": system_calls,
    "namespaces": namespaces,
    "descriptors": descriptors,
    "open files": open_files,
    "file size": file_size,
    "cpu time": cpu_time,
}


def use_memory() -> None:
    hold = []
    while True:
        hold.append(mmap.mmap(-1, 4 * MIB))
        hold[-1].write(b"\1" * (4 * MIB))


def use_disk() -> None:
    for number in range(1 << 20):
        (JOB / "tmp" / str(number)).write_bytes(b"\1" * (4 * MIB))


def use_processes() -> None:
    while True:
        try:
            if os.fork() == 0:
                time.sleep(600)
        except OSError:
            os._exit(REFUSED)


def use_time() -> None:
    time.sleep(600)


LIMITS: dict[str, Callable[[], None]] = {
    "memory": use_memory,
    "disk": use_disk,
    "process count": use_processes,
    "wall time": use_time,
}


class Crossed(Exception):
    """A barrier does not hold."""


def claim(holds: bool, how: str) -> None:
    if not holds:
        raise Crossed(how)


def refuse(how: str, deed: Callable[[], object]) -> None:
    """The deed must be refused."""
    try:
        deed()
    except OSError:
        return
    raise Crossed(how)


def connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(path)


def probe_all() -> dict[str, str]:
    """Barrier -> how it was crossed; empty where it holds. A probe that breaks proves nothing, so that counts as crossed."""
    found: dict[str, str] = {}
    for name, probe in PROBES.items():
        try:
            probe()
            found[name] = ""
        except Exception as error:
            found[name] = str(error) or type(error).__name__
    return found


def main(arguments: list[str]) -> None:
    if arguments[0] in LIMITS:
        LIMITS[arguments[0]]()
    TOLD.update(json.loads((JOB / "request.json").read_text()))
    (JOB / "output" / "barriers.json").write_text(json.dumps(probe_all()))


if __name__ == "__main__":
    main(sys.argv[1:])
