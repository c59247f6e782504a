"""Hostile checkpoints: whatever file carries them and whatever they do, nothing is reached, and each ends by its limit."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from contracts.errors import ERRORS
from contracts.vocabulary import Framework, TaskType
from tests.attack.checkpoints.arena import LIMITS, Arena, Model, Trial
from tests.attack.checkpoints.canaries import Canaries, canaries
from tests.attack.checkpoints.forms import FORMS, hostile
from tests.attack.checkpoints.pickles import GADGETS, script

pytestmark = [pytest.mark.attack, pytest.mark.integration]

REFUSED = frozenset(
    {"checkpoint_unreadable", "checkpoint_framework_mismatch", "checkpoint_architecture_mismatch"}
    | {"conversion_failed", "unsupported"}
)
MEMORY, DISK = frozenset({"step_out_of_memory"}), frozenset({"step_disk_full"})
TIME, CRASH = frozenset({"step_timeout"}), frozenset({"step_crashed"})
SHORT_S = 8.0
OVER_S = 5.0
AT_ONCE = 2


class Case(Struct, frozen=True, kw_only=True):
    """One hostile checkpoint: what it does, in which file, by which gadget, and the codes that it may end with."""

    deed: str
    form: str = "torch zip"
    gadget: str = "builtins.exec"
    ends: frozenset[str] = REFUSED
    wall_s: float = LIMITS.wall_s
    often: bool = False

    @property
    def name(self) -> str:
        return f"{self.deed} in {self.form} by {self.gadget}"


ESCAPES = (
    "connect",
    "resolve",
    "cloud_metadata",
    "unix_socket",
    "abstract_socket",
    "own_loopback",
    "raw_sockets",
    "init_environment",
    "every_environment",
    "own_environment",
    "credentials",
    "sibling_job",
    "other_tenants",
    "trace",
    "mount",
    "keys",
    "nested_namespaces",
    "kernel_doors",
    "become_root",
    "devices",
    "persist",
    "hard_link_out",
    "raise_limits",
)
LIMITED: dict[str, frozenset[str]] = {
    "memory": MEMORY,
    "shared_memory": MEMORY,
    "memory_in_children": MEMORY,
    "page_tables": MEMORY,
    "disk": DISK,
    "shm_files": DISK,
    "unlinked": DISK,
    "inodes": DISK,
    "deep_folders": DISK,
    "one_file": REFUSED | DISK,
    "open_files": REFUSED | CRASH,
    "crash": CRASH,
    "link_out": REFUSED,
    "fifo_outputs": REFUSED,
    "forge": REFUSED,
    "forge_error": REFUSED,
    "daemons": REFUSED,
}
"""Deeds that end by something of their own."""
ENDLESS: dict[str, frozenset[str]] = {
    "fork_bomb": TIME | CRASH | MEMORY,
    "thread_bomb": TIME | CRASH | MEMORY,
    "endless": TIME,
    "stubborn_sleep": TIME,
    "stop_itself": TIME,
    "flood_stdout": TIME,
    "flood_stderr": TIME,
    "signal_outside": TIME | REFUSED | CRASH | MEMORY,
}
OFTEN = frozenset(
    {"connect", "every_environment", "sibling_job", "nested_namespaces", "memory", "disk"}
    | {"fork_bomb", "endless", "flood_stdout", "link_out", "forge", "daemons"}
)

CASES = [
    *(Case(deed=deed, often=deed in OFTEN) for deed in ESCAPES),
    *(Case(deed=deed, ends=ends, often=deed in OFTEN) for deed, ends in LIMITED.items()),
    *(Case(deed=deed, ends=ends, wall_s=SHORT_S, often=deed in OFTEN) for deed, ends in ENDLESS.items()),
    *(Case(deed="touch_canary", gadget=gadget) for gadget in GADGETS if gadget != "builtins.exec"),
    *(Case(deed="touch_canary", form=form) for form in FORMS if form != "torch zip"),
]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Canaries]:
    with canaries(tmp_path / "host") as made:
        yield made


def build(folder: Path, case: Case, watched: Canaries) -> Model:
    framework, name, body = hostile(case.form, case.gadget, script(case.deed, watched.targets))
    path = folder / case.name.replace(" ", "-").replace("/", "-") / name
    path.parent.mkdir(parents=True)
    path.write_bytes(body)
    task = TaskType.OBJECT_DETECTION if framework == "ultralytics" else TaskType.IMAGE_CLASSIFICATION
    return Model(path=path, framework=Framework(framework), task=task)


def judge(case: Case, trial: Trial, watched: Canaries) -> list[str]:
    """What is wrong with the end of a trial; nothing where the checkpoint came to nothing."""
    reached = watched.stung(trial.evidence, trial.message.encode())
    return [
        *(f"reached {name}" for name in reached),
        *(f"got away with {line}" for line in trial.loot.splitlines()),
        *([] if trial.code in case.ends and trial.code in ERRORS else [f"ended with {trial.code!r}: {trial.message}"]),
        *([] if trial.ran is FORMS[case.form][2] else [f"its code {'ran' if trial.ran else 'did not run'}"]),
        *([] if trial.log_bytes <= LIMITS.log_bytes + 500 else [f"left a log of {trial.log_bytes} bytes"]),
    ]


@pytest.mark.timeout(1200)
async def test_no_hostile_checkpoint_reaches_anything(
    tmp_path: Path,
    watched: Canaries,
    figure: Callable[..., None],
    pytestconfig: pytest.Config,
) -> None:
    is_full = pytestconfig.getoption("full")
    cases = [case for case in CASES if is_full or case.often]
    arena, turns = Arena(tmp_path / "jobs"), asyncio.Semaphore(AT_ONCE)
    wrong: dict[str, list[str]] = {}
    over: dict[str, float] = {}

    async def attack(case: Case) -> None:
        async with turns:
            trial = await arena.run(build(tmp_path, case, watched), msgspec.structs.replace(LIMITS, wall_s=case.wall_s))
        over[case.name] = trial.seconds - case.wall_s
        if found := judge(case, trial, watched):
            wrong[case.name] = found

    await asyncio.gather(*map(attack, cases))
    late = {name: seconds for name, seconds in over.items() if seconds > OVER_S}
    what = "hostile checkpoints that reached a canary, got away with a deed or ended otherwise than by their limit"
    figure(what, trials=len(cases), measured=len(wrong), promised=0)
    what = "hostile checkpoints that ran longer than their limit + 5 s"
    figure(what, trials=len(cases), measured=len(late), promised=0)
    assert not wrong, "\n".join(f"{name}: {found}" for name, found in wrong.items())
    assert arena.leftovers() == []
    assert not is_full or not late, late
    assert len(CASES) >= 30


async def test_the_canaries_sing_where_there_is_no_sandbox(
    tmp_path: Path, watched: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same deed outside: it is the sandbox that keeps it in, not the test that is deaf."""
    code = script("touch_canary", watched.targets).replace('Path("/job")', f"Path({str(tmp_path)!r})")
    (tmp_path / "output").mkdir()
    exec(compile(code, "deeds", "exec"), {"__name__": "deeds"})
    loot = (tmp_path / "output" / "loot").read_text()
    assert set(watched.stung(loot.encode())) == {"tcp", "sibling"}
    assert "MODELPORT_S3_SECRET_KEY" in loot
