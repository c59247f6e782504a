"""The sandbox as a command line, and whether this machine has one."""

import asyncio
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from servicekit.sandbox import bubblewrap, seccomp, watch
from servicekit.sandbox.bubblewrap import MIB, NOTHING, Limits, Seen, make
from servicekit.sandbox.job_dir import JobDir
from servicekit.workplace import delete


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def pairs(argv: list[str], flag: str) -> list[str]:
    return [argv[i + 1] for i, part in enumerate(argv) if part == flag]


@pytest.mark.parametrize("own_uid", [1_000_000_007, None])
def test_the_command_line_closes_every_door(tmp_path: Path, own_uid: int | None) -> None:
    argv = make("/usr/bin/bwrap", own_uid=own_uid).argv(tmp_path, ["child"], Limits(memory_bytes=MIB), {"--seccomp": 9})
    inside = argv[argv.index("--") :]
    assert {"--die-with-parent", "--new-session", "--clearenv"} <= set(argv)
    assert ("--unshare-all" in argv) or {"--unshare-net", "--unshare-pid", "--unshare-ipc"} <= set(argv)
    assert pairs(argv, "--cap-drop") == ["ALL"]
    assert pairs(argv, "--bind") == [str(tmp_path / "tmp"), str(tmp_path / "shm"), str(tmp_path)]
    assert pairs(argv, "--seccomp") == ["9"]
    assert pairs(argv, "--remount-ro") == ["/dev", "/"]
    assert "--no-new-privs" in inside
    assert {"--core=0", f"--data={MIB + (2 << 30)}", "--nproc=256"} <= set(inside)
    assert inside[-1] == "child"
    assert not {"/", "/etc", "/root", "/home", str(Path.home())} & set(pairs(argv, "--ro-bind"))


def test_a_gpu_is_shown_only_where_engines_are_built_on_it(tmp_path: Path) -> None:
    plain = make("/usr/bin/bwrap", own_uid=None)
    with_gpu = structs.replace(plain, devices=("/dev/nvidia0", "/dev/nvidiactl"))
    for box, nodes, visible in ((structs.replace(plain, devices=()), [], ""), (with_gpu, list(with_gpu.devices), "0")):
        argv = box.argv(tmp_path, ["child"], Limits(memory_bytes=MIB))
        assert pairs(argv, "--dev-bind") == nodes
        assert argv[argv.index("CUDA_VISIBLE_DEVICES") + 1] == visible
        places = [argv.index(part) for part in ("--dev", *(["--dev-bind"] if nodes else []), "--remount-ro")]
        assert places == sorted(places), "the nodes come into the new /dev, before that is closed"


def test_what_is_shown_is_read_only_under_its_own_path_and_variables_know_the_folder(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    seen = Seen(paths=(str(tmp_path),), variables=(("CACHE", "{tmp}/cache"),))
    box = make("/usr/bin/bwrap", seen, own_uid=None)
    argv = box.showing([tmp_path / "more", Path(__file__).parent]).argv(tmp_path, ["child"], Limits(memory_bytes=MIB))
    shown = pairs(argv, "--ro-bind")
    assert {str(tmp_path), str(Path(__file__).parent)} <= set(shown)
    assert str(tmp_path / "more") not in shown, "it lies in what is shown"
    assert argv[argv.index("CACHE") + 1] == "/tmp/cache"


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    box, state = bubblewrap.detect(NOTHING, {"PATH": str(tmp_path)})
    assert box is None
    assert state.description.startswith("not installed: bwrap, setpriv, prlimit; install")


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no choice")
@pytest.mark.parametrize(
    ("uid_map", "expected"),
    [
        ("0 0 4294967295\n", 1_000_000_000),
        ("0 100000 65536\n", 20_000),
        ("0 1000 1\n", None),
        ("0 1000 1\n1 100000 65536\n", 20_000),
    ],
)
def test_the_user_id_is_one_that_exists_here(tmp_path: Path, uid_map: str, expected: int | None) -> None:
    (tmp_path / "map").write_text(uid_map)
    chosen = bubblewrap.separate_uid(str(tmp_path / "map"))
    assert chosen == (None if expected is None else expected + os.getpid() % (1 << 30 if expected > 10**8 else 40_000))


def test_a_sandbox_that_does_not_work_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    box, state = bubblewrap.detect(NOTHING, {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert box is None
    assert "No permissions to create a new namespace" in state.description


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_the_filter_is_whole_and_its_jumps_stay_inside(machine: str) -> None:
    program = seccomp.compile_filter(machine)
    statements = list(struct.iter_unpack("HBBI", program))
    assert len(program) % 8 == 0
    for index, (code, if_true, if_false, _) in enumerate(statements):
        if code & 0x07 == 0x05:
            assert index + 1 + max(if_true, if_false) < len(statements)
    assert statements[-1][3] == seccomp.ALLOW
    assert not seccomp.is_supported("riscv64")


def test_a_tree_of_any_depth_and_rights_is_measured_and_removed(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    (root / "closed").mkdir(mode=0o000)
    assert watch.disk_bytes(root) is None
    delete(root)
    assert not root.exists()


def test_disk_is_counted_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\1" * MIB)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link").symlink_to("/")
    used = watch.disk_bytes(tmp_path)
    assert used is not None
    assert MIB <= used < 2 * MIB


def test_a_process_sees_its_descendants() -> None:
    assert os.getpid() in watch.tree(os.getppid())
    assert watch.usage(os.getpid()).memory_bytes > MIB
    assert watch._scanned()(os.getppid()).count(os.getpid()) == 1
    assert not watch.is_alive(2**22 + 1)


async def test_a_held_process_is_gone_when_the_kernel_says_so() -> None:
    process = await asyncio.create_subprocess_exec("sh", "-c", "sleep 600 & wait", start_new_session=True)
    await until(lambda: len(watch.tree(process.pid)) == 2)
    with watch.hold(process.pid) as held:
        waiting = asyncio.create_task(watch.gone(held))
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert len(held) == 2
        assert not waiting.done()
        os.killpg(process.pid, signal.SIGKILL)
        await waiting


def test_the_run_keeps_its_log_out_of_the_steps_reach(tmp_path: Path) -> None:
    job = JobDir.create(tmp_path / "run", os.geteuid())
    assert job.path not in job.log.parents
    job.write_request(b"{}")
    job.write_request(b"{1}")
    assert (job.path / "request.json").read_bytes() == b"{1}"
    job.remove()
    assert not job.root.exists()
