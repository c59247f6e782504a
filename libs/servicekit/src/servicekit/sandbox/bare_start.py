"""`python bare_start.py PLAN`: takes limits upon itself, tells its process id, waits for the word, and becomes the command.

Standard library only: it runs without the environment's packages.
"""

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
SECCOMP_MODE_FILTER = 2
INSTRUCTION = 8


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def control(*arguments: object) -> None:
    """prctl(2); OSError where the kernel refuses, so that nothing runs with less than it is said to have."""
    words = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in arguments]
    if ctypes.CDLL(None, use_errno=True).prctl(*words, *(ctypes.c_ulong(0),) * (5 - len(words))):
        raise OSError(ctypes.get_errno(), f"prctl({arguments[0]}) is refused")


def main(plan: dict[str, dict[str, int]], command: list[str], environment: dict[str, str], folder: str) -> None:
    """Never returns."""
    control(PR_SET_PDEATHSIG, signal.SIGKILL)
    control(PR_SET_CHILD_SUBREAPER, 1)  # whose orphans stay below it, where they are found and ended
    control(PR_SET_NO_NEW_PRIVS, 1)
    for name, value in plan["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.chdir(folder)
    descriptors = plan["descriptors"]
    if "--info-fd" in descriptors:
        os.write(descriptors["--info-fd"], json.dumps({"child-pid": os.getpid()}).encode())
        os.close(descriptors["--info-fd"])
        os.read(descriptors["--block-fd"], 1)
    if "--seccomp" in descriptors:
        code = os.read(descriptors["--seccomp"], 1 << 20)
        program = Program(len(code) // INSTRUCTION, code)
        control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))
    os.execve(command[0], command, environment)  # noqa: S606  (no shell is wanted between the limits and the command)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    main(told, told["command"], told["environment"], told["folder"])
