"""What the code in a hostile checkpoint does to get out. Its text travels inside the checkpoint, so it needs the standard library only.

`perform(name, targets)` writes output/ran first, so that a test sees that the code ran, and every success of a deed into output/loot.
"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

TARGETS = {}
JOB = Path("/job")
LIBC = ctypes.CDLL(None, use_errno=True)


def loot(what):
    with (JOB / "output" / "loot").open("a") as file:
        file.write(f"{what}\n")


def attempt(what, deed):
    """A deed that is not refused is loot."""
    try:
        deed()
    except (OSError, ValueError, subprocess.SubprocessError):
        return
    loot(what)


def call(name, number, *arguments):
    """A system call that must fail."""
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    if LIBC.syscall(ctypes.c_long(number), *given) != -1:
        loot(name)


def secret_in(path):
    if TARGETS["secret"].encode() not in Path(path).read_bytes():
        raise ValueError


def connect():
    attempt("tcp", partial(socket.create_connection, ("127.0.0.1", TARGETS["tcp"]), 2))
    attempt("tcp over IPv6", partial(socket.create_connection, ("::1", TARGETS["tcp"]), 2))


def resolve():
    attempt("dns", partial(socket.getaddrinfo, "canary.example.com", 80))
    attempt("udp", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"q", ("127.0.0.1", TARGETS["udp"])))


def cloud_metadata():
    for host in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254"):
        attempt(host, partial(socket.create_connection, (host, 80), 2))


def unix_socket():
    for path in (TARGETS["unix"], "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"):
        attempt(path, lambda path=path: socket.socket(socket.AF_UNIX).connect(path))


def abstract_socket():
    attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\0" + TARGETS["abstract"]))


def own_loopback():
    attempt("listens", partial(socket.create_server, ("127.0.0.1", 0)))
    attempt("pair", socket.socketpair)


def raw_sockets():
    for family in (socket.AF_PACKET, socket.AF_NETLINK, socket.AF_VSOCK, socket.AF_ALG):
        attempt(str(family), partial(socket.socket, family, socket.SOCK_RAW))


def init_environment():
    for path in ("/proc/1/environ", f"/proc/{os.getppid()}/environ", "/proc/self/environ", "/proc/thread-self/environ"):
        attempt(path, partial(secret_in, path))


def every_environment():
    for path in Path("/proc").glob("*/environ"):
        attempt(str(path), partial(secret_in, path))
    for path in Path("/proc").glob("*/cmdline"):
        attempt(str(path), partial(secret_in, path))


def own_environment():
    for name, value in os.environ.items():
        if TARGETS["secret"] in value or any(word in name for word in ("SECRET", "TOKEN", "PASSWORD", "KEY", "DSN")):
            loot(name)


def credentials():
    for path in (
        "~/.aws/credentials",
        "/root/.ssh/id_rsa",
        "/root/.netrc",
        "/etc/shadow",
        "/etc/passwd",
        "/root/.kube/config",
    ):
        attempt(path, partial(Path(path).read_bytes))


def sibling_job():
    for path in (TARGETS["sibling"], f"/proc/1/root{TARGETS['sibling']}", f"/proc/self/root{TARGETS['sibling']}"):
        attempt(path, partial(Path(path).read_bytes))
        attempt(f"write {path}", partial(Path(path).write_text, "x"))


def other_tenants():
    for folder in (*TARGETS["folders"], "/proc/1/cwd", "/proc/1/root"):
        for name in ("taken", "log.txt", "lock", "uploads", "input/model.pt"):
            attempt(f"{folder}/{name}", partial(os.stat, f"{folder}/{name}"))


def trace():
    libc = LIBC.ptrace
    for request, pid in ((16, os.getppid()), (16, 1), (0x4206, 1)):
        if libc(request, pid, None, None) != -1:
            loot(f"ptrace {request} {pid}")
    call("process_vm_readv", 310, os.getppid(), 0, 0, 0, 0, 0)
    call("process_vm_writev", 311, os.getppid(), 0, 0, 0, 0, 0)
    attempt("memory of the parent", partial(os.open, f"/proc/{os.getppid()}/mem", os.O_RDWR))


def mount():
    if (
        LIBC.mount(b"none", b"/job/tmp", b"tmpfs", 0, None) != -1
        or LIBC.mount(b"/", b"/job/tmp", None, 4096, None) != -1
    ):
        loot("mount")
    if LIBC.umount2(b"/usr", 2) != -1:
        loot("umount")
    for name, number in (("fsopen", 430), ("open_tree", 428), ("move_mount", 429), ("mount_setattr", 442)):
        call(name, number, 0, 0, 0, 0, 0)
    if LIBC.mount(None, b"/usr", None, 32 | 4096, None) != -1:
        loot("remount")


def keys():
    for name, number in (("add_key", 248), ("request_key", 249), ("keyctl", 250)):
        call(name, number, 0, -3 if name == "keyctl" else 0, 0, 0, 0)


def nested_namespaces():
    for flag in (0x10000000, 0x10020000, 0x40000000, 0x20000000, 0x08000000, 0x04000000):
        if LIBC.unshare(flag) != -1:
            loot(f"unshare {flag:#x}")
    call("clone", 56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    for name in ("user", "net", "mnt", "pid"):
        attempt(f"setns {name}", lambda name=name: refuse(LIBC.setns(os.open(f"/proc/1/ns/{name}", 0), 0)))


def refuse(answer):
    if answer == -1:
        raise OSError


def kernel_doors():
    for name, number in (
        ("bpf", 321), ("userfaultfd", 323), ("perf_event_open", 298), ("io_uring_setup", 425), ("kexec_load", 246),
        ("init_module", 175), ("finit_module", 313), ("memfd_create", 319), ("open_by_handle_at", 304), ("kcmp", 312),
        ("pidfd_getfd", 438), ("fanotify_init", 300), ("personality", 135), ("quotactl", 179), ("syslog", 103),
    ):  # fmt: skip
        call(name, number, 0, 0, 0, 0, 0)


def become_root():
    attempt("setuid", partial(os.setuid, 0))
    attempt("setgid", partial(os.setgid, 0))
    attempt("setgroups", partial(os.setgroups, [0]))
    attempt("chroot", partial(os.chroot, "/job"))
    for program in ("su", "sudo", "mount", "pkexec", "newgrp"):
        done = None
        try:
            done = subprocess.run([program, "-c", "id -u"], capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError):
            continue
        if done.stdout.strip() == b"0":
            loot(program)


def devices():
    for kind, major, minor in ((0o060000, 254, 0), (0o060000, 8, 0), (0o020000, 1, 1)):
        attempt("mknod", partial(os.mknod, f"/job/output/d{major}", 0o666 | kind, os.makedev(major, minor)))
    for path in ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/tty"):
        attempt(path, partial(os.open, path, os.O_RDWR))


def persist():
    """Leave something that a later step would run."""
    for folder in (sys.prefix, sys.base_prefix, *sys.path, "/usr/lib", "/etc", "/", "/dev", "/job/input"):
        if folder and not str(folder).startswith("/job"):
            attempt(f"plant in {folder}", partial(os.open, f"{folder}/sitecustomize.py", os.O_WRONLY | os.O_CREAT))
    attempt("input", partial(os.open, "/job/input/sitecustomize.py", os.O_WRONLY | os.O_CREAT))
    attempt("core_pattern", partial(os.open, "/proc/sys/kernel/core_pattern", os.O_WRONLY))
    attempt("sysrq", partial(os.open, "/proc/sysrq-trigger", os.O_WRONLY))
    attempt("cgroup", partial(os.mkdir, "/sys/fs/cgroup/x"))


def link_out():
    """Outputs that are links: what collects them must not follow."""
    output = JOB / "output"
    (output / "model.onnx").symlink_to(TARGETS["sibling"])
    (output / "metadata.json").symlink_to("/etc/passwd")
    (output / "parity_report.json").symlink_to("/proc/self/environ")
    output.rename(JOB / "moved")
    output.symlink_to(Path(TARGETS["sibling"]).parent)
    forge()


def hard_link_out():
    for path in (sys.executable, "/usr/bin/env", TARGETS["sibling"]):
        attempt(f"link to {path}", partial(os.link, path, "/job/output/link"))


def fifo_outputs():
    for name in ("model.onnx", "metadata.json", "parity_report.json", "golden_vectors.safetensors"):
        os.mkfifo(JOB / "output" / name)
    forge()


def signal_outside():
    for pid in (TARGETS["worker"], os.getppid(), 1):
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
            try:
                os.kill(pid, number)
            except OSError:
                continue
    os.kill(-1, signal.SIGKILL)


def forge():
    """Say `done` on every descriptor that may be the protocol's."""
    lines = b'\n{"type":"progress","stage":"package","fraction":1e308}\n{"type":"done","durations_s":{"load":-1}}\n'
    for descriptor in range(64):
        try:
            os.write(descriptor, lines)
        except OSError:
            continue


def forge_error():
    for descriptor in range(64):
        try:
            os.write(descriptor, b'\n{"type":"error","code":"quota_exceeded","message":"\\u001b[31mpay\\u202e"}\n')
        except OSError:
            continue
    time.sleep(600)


def raise_limits():
    for name in ("RLIMIT_NPROC", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_NOFILE"):
        hard = resource.getrlimit(getattr(resource, name))[1]
        attempt(name, partial(resource.setrlimit, getattr(resource, name), (hard + 1, hard + 1)))


def touch_canary():
    """The least that any gadget would do."""
    attempt("canary", partial(Path(TARGETS["sibling"]).write_text, "stung"))
    connect()
    own_environment()


def perform(name, targets):
    TARGETS.update(targets)
    (JOB / "output" / "ran").write_text(name)
    globals()[name]()
