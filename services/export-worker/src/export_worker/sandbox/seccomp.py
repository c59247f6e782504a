"""The system call filter of a sandboxed step, as classic BPF for `bwrap --seccomp`.

A deny list: what converters never need and what kernel exploits live on. Namespaces, mounts and capabilities are already gone
without it, so on other architectures than x86-64 the sandbox runs without the filter.
Numbers: arch/x86/entry/syscalls/syscall_64.tbl; constants: linux/seccomp.h, linux/filter.h, linux/audit.h.
"""

import platform
import struct

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000
CLONE_NEWUSER = 0x10000000
FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6: harmless in an empty network namespace; vsock, netlink, packet and crypto sockets are not."""

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARG0 = 0, 4, 16
_CLONE, _CLONE3, _SOCKET = 56, 435, 41

DENIED: dict[str, int] = {
    "shmget": 29,
    "ptrace": 101,
    "syslog": 103,
    "personality": 135,
    "pivot_root": 155,
    "chroot": 161,
    "acct": 163,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "sethostname": 170,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "lookup_dcookie": 212,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "finit_module": 313,
    "memfd_create": 319,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "memfd_secret": 447,
}
"""memfd_create and shmget: memory that no resident set shows, so that the memory limit would not see it."""


def is_supported(machine: str = "") -> bool:
    """Whether the filter fits this machine's system call numbers."""
    return (machine or platform.machine()) == "x86_64"


def compile_filter() -> bytes:
    """The program for x86-64: an array of `struct sock_filter`."""
    program = [
        _statement(_LOAD, _ARCH),
        _jump(_JUMP_EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        _statement(_RETURN, KILL_PROCESS),
        _statement(_LOAD, _NUMBER),
        _jump(_JUMP_AT_LEAST, X32_BIT, 0, 1),
        _statement(_RETURN, ERRNO | ENOSYS),
        # glibc falls back to clone, whose flags can be read here
        _jump(_JUMP_EQUAL, _CLONE3, 0, 1),
        _statement(_RETURN, ERRNO | ENOSYS),
    ]
    for number in DENIED.values():
        program += [_jump(_JUMP_EQUAL, number, 0, 1), _statement(_RETURN, ERRNO | EPERM)]
    program += _clone_rule() + _socket_rule()
    program.append(_statement(_RETURN, ALLOW))
    return b"".join(program)


def _clone_rule() -> list[bytes]:
    return [
        _jump(_JUMP_EQUAL, _CLONE, 0, 4),
        _statement(_LOAD, _ARG0),
        _jump(_JUMP_SET, CLONE_NEWUSER, 0, 1),
        _statement(_RETURN, ERRNO | EPERM),
        _statement(_RETURN, ALLOW),
    ]


def _socket_rule() -> list[bytes]:
    allowed = [_jump(_JUMP_EQUAL, family, len(FAMILIES) - index, 0) for index, family in enumerate(FAMILIES)]
    body = [_statement(_LOAD, _ARG0), *allowed, _statement(_RETURN, ERRNO | EAFNOSUPPORT)]
    return [_jump(_JUMP_EQUAL, _SOCKET, 0, len(body)), *body]


def _statement(code: int, value: int) -> bytes:
    return struct.pack("HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
