"""A sandbox is proven before it is trusted, and a barrier that is gone is told by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from servicekit.sandbox import seccomp, selftest
from servicekit.sandbox.bubblewrap import Limits, Sandbox
from servicekit.sandbox.contained import Broken

pytestmark = pytest.mark.integration
EACH = tuple(f"--unshare-{space}" for space in ("user", "ipc", "pid", "net", "uts", "cgroup-try"))


class Weakened(Sandbox, frozen=True, kw_only=True):
    """The sandbox with `drop` taken from bwrap's options and `add` put before its command."""

    drop: tuple[str, ...] = ()
    add: tuple[str, ...] = ()

    def argv(
        self, job_dir: Path, command: Sequence[str], limits: Limits, descriptors: Mapping[str, int] | None = None
    ) -> list[str]:
        given = super().argv(job_dir, command, limits, descriptors)
        each = (part for one in given for part in (EACH if one == "--unshare-all" else (one,)))
        whole = [part for part in each if part not in self.drop]
        at = whole.index("--chdir")
        return [*whole[:at], *self.add, *whole[at:]]


def weakened(sandbox: Sandbox, drop: tuple[str, ...], add: tuple[str, ...]) -> Weakened:
    parts = {name: getattr(sandbox, name) for name in Sandbox.__struct_fields__}
    return Weakened(**parts, drop=drop, add=add)


async def test_every_barrier_holds_here(sandbox: Sandbox) -> None:
    barriers = await selftest.prove(sandbox)
    assert tuple(barriers) == selftest.NAMES
    assert not any(barriers.values()), barriers


@pytest.mark.parametrize(
    ("drop", "add", "crossed"),
    [
        ((), ("--ro-bind", "/etc", "/etc"), {"files"}),
        ((), ("--setenv", "MODELPORT_S3_SECRET_KEY", "x"), {"environment"}),
        (("--unshare-pid",), (), {"processes"}),
        ((), ("--bind", "/usr", "/usr"), {"read-only toolchain"}),
        ((), ("--remount-ro", "/job"), {"job folder"}),
        (("--fsize=16777216",), (), {"file size"}),
        (("--nofile=1024",), (), {"open files"}),
        (("--core=0",), (), {"cpu time"}),
    ],
)
async def test_a_barrier_that_is_gone_is_named(
    sandbox: Sandbox, drop: tuple[str, ...], add: tuple[str, ...], crossed: set[str]
) -> None:
    told = await selftest._probe(weakened(sandbox, drop, add))
    assert crossed <= {name for name, how in told.items() if how}, told
    silent = [name for name, how in told.items() if "did not end" in how]
    assert not silent or "job folder" in crossed, "a probe that cannot run says nothing of the one barrier"


async def test_without_the_filter_there_are_sockets_and_calls(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "is_supported", lambda: False)
    told = await selftest._probe(sandbox)
    assert {"network", "unix sockets", "system calls"} <= {name for name, how in told.items() if how}


async def test_a_limit_that_does_not_bite_is_named(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(selftest.BREAKS, "disk", Broken.TIME)
    assert await selftest._break(sandbox, "disk") == "a command that breaks it ends with disk"


def test_a_sandbox_of_which_a_barrier_is_crossed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaky(_: Sandbox) -> dict[str, str]:
        return {"network": "connected to 10.0.0.1", "files": ""}

    assert selftest.examine().available
    monkeypatch.setattr(selftest, "prove", leaky)
    state = selftest.examine()
    assert not state.available
    assert "it does not hold: network: connected to 10.0.0.1" in state.description
