"""The system call filter of a sandboxed command, as classic BPF for `bwrap --seccomp`.

A deny list: what converters never need and what kernel exploits live on. Sockets are among it: an empty network namespace has a loopback
of its own, and what lies in the buffers of sockets and message queues is memory that no process shows.
Numbers: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h; constants: linux/seccomp.h, linux/filter.h,
linux/audit.h.
"""

import platform
import struct

from msgspec import Struct

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
X32_BIT = 0x40000000
CLONE_NEWUSER = 0x10000000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARG0 = 0, 4, 16


class Architecture(Struct, frozen=True, kw_only=True):
    """One machine's AUDIT_ARCH, the numbers of the calls that are looked at closely, and its column of DENIED."""

    audit: int
    column: int
    clone: int
    clone3: int
    socket: int


ARCHITECTURES = {
    "x86_64": Architecture(audit=0xC000003E, column=0, clone=56, clone3=435, socket=41),
    "aarch64": Architecture(audit=0xC00000B7, column=1, clone=220, clone3=435, socket=198),
}
DENIED: dict[str, tuple[int, int | None]] = {
    "shmget": (29, 194),
    "socketpair": (53, 199),
    "semget": (64, 190),
    "msgget": (68, 186),
    "ptrace": (101, 117),
    "syslog": (103, 116),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "acct": (163, 89),
    "mount": (165, 40),
    "umount2": (166, 39),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "lookup_dcookie": (212, 18),
    "mq_open": (240, 180),
    "kexec_load": (246, 104),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "finit_module": (313, 273),
    "memfd_create": (319, 279),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
    "memfd_secret": (447, 447),
}
"""Numbers on x86-64 and aarch64. memfd_create, shmget and the queues: memory that no resident set shows, so that the memory limit
would not see it."""


def is_supported(machine: str = "") -> bool:
    """Whether the filter knows this machine's system call numbers."""
    return (machine or platform.machine()) in ARCHITECTURES


def denied(machine: str = "") -> dict[str, int]:
    """Name -> number of the calls that are refused with EPERM on this machine."""
    column = ARCHITECTURES[machine or platform.machine()].column
    return {name: number for name, numbers in DENIED.items() if (number := numbers[column]) is not None}


def compile_filter(machine: str = "") -> bytes:
    """The program for a supported machine: an array of `struct sock_filter`."""
    own = ARCHITECTURES[machine or platform.machine()]
    program = [
        _statement(_LOAD, _ARCH),
        _jump(_JUMP_EQUAL, own.audit, 1, 0),
        _statement(_RETURN, KILL_PROCESS),
        _statement(_LOAD, _NUMBER),
        _jump(_JUMP_AT_LEAST, X32_BIT, 0, 1),
        _statement(_RETURN, ERRNO | ENOSYS),
        # glibc falls back to clone, whose flags can be read here
        *_refusal(own.clone3, ENOSYS),
        *_refusal(own.socket, EAFNOSUPPORT),
    ]
    for number in denied(machine).values():
        program += _refusal(number, EPERM)
    program += [
        _jump(_JUMP_EQUAL, own.clone, 0, 3),
        _statement(_LOAD, _ARG0),
        _jump(_JUMP_SET, CLONE_NEWUSER, 0, 1),
        _statement(_RETURN, ERRNO | EPERM),
        _statement(_RETURN, ALLOW),
    ]
    return b"".join(program)


def _refusal(number: int, errno: int) -> list[bytes]:
    return [_jump(_JUMP_EQUAL, number, 0, 1), _statement(_RETURN, ERRNO | errno)]


def _statement(code: int, value: int) -> bytes:
    return struct.pack("HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
