"""The bubblewrap sandbox of one command: no network, no credentials, no capability, one writable directory.

Opening a checkpoint runs its code, so what runs inside is taken to be hostile. It sees the interpreter, /usr and what it is shown read
only, and its job directory at /job. Started by root it runs under a user id that nothing else on the machine has (so that the limit on
processes counts it alone); started by a user it runs in a user namespace of its own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, structs

from servicekit.sandbox import seccomp

JOB = "/job"
TMP, SHM = "/tmp", "/dev/shm"  # noqa: S108  (the sandbox' own, private to one job)
TMP_VARIABLE = "{tmp}"
"""Stands in the value of a variable for the folder of temporary files."""
MIB = 1 << 20
SYSTEM_LINKS = ("bin", "sbin", "lib", "lib64", "lib32")
SYSTEM_FILES = ("/etc/ld.so.cache", "/sys/devices/system/cpu")
UIDS = ((1_000_000_000, 1 << 30), (20_000, 40_000))
"""First id and number of ids to choose from, the widest range that exists here."""
NOBODY = 65534
OPEN_FILES = 1024
PROBE_TIMEOUT_S = 20


class Limits(Struct, frozen=True, kw_only=True):
    """What one command may use: bytes of memory, of one file, of its whole directory and of log; processes; seconds of wall time."""

    memory_bytes: int
    processes: int = 256
    file_bytes: int = 8 << 30
    disk_bytes: int = 24 << 30
    log_bytes: int = 8 * MIB
    wall_s: float = 1800.0
    threads: int = 2

    @property
    def data_bytes(self) -> int:
        """Hard ceiling of one process' private mappings; the toolchain maps up to 1 GiB that it never touches."""
        return self.memory_bytes + (2 << 30)


class Seen(Struct, frozen=True, kw_only=True):
    """What a command finds inside beside the interpreter and /usr: files and folders under their own paths, device nodes, variables."""

    paths: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


NOTHING = Seen()


class SandboxState(Struct, frozen=True, kw_only=True):
    """Whether commands can be isolated here and how; of every barrier that was probed, how it was crossed (empty: it holds)."""

    available: bool
    description: str
    barriers: dict[str, str] = {}


class Sandbox(Struct, frozen=True, kw_only=True):
    """How to isolate on this machine; `own_uid` is the user id to switch to (needs root), None makes a user namespace.

    `devices` are nodes beyond the usual ones, such as those of a GPU that engines are built on; `variables` those beyond
    `child_environment`'s own.
    """

    bwrap: str
    own_uid: int | None
    binds: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    devices: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def isolates(self) -> bool:
        return True

    def uid(self) -> int:
        """The user id outside that a command started by this process runs under; owns the job directory."""
        return os.geteuid() if self.own_uid is None else self.own_uid

    def showing(self, paths: Sequence[Path]) -> "Sandbox":
        """The same with more files and folders, read only under their own paths; its user id must be able to read them."""
        return structs.replace(self, binds=_outermost([*self.binds, *map(str, paths)]))

    def argv(
        self, job_dir: Path, command: Sequence[str], limits: Limits, descriptors: Mapping[str, int] | None = None
    ) -> list[str]:
        """The whole command line; `job_dir` must hold the folders `input`, `tmp`, `shm` and be owned by `uid()`; `descriptors` of bwrap's options."""
        return [
            self.bwrap,
            *self._namespaces(),
            "--die-with-parent",
            "--new-session",
            *self._environment(limits),
            *self._filesystem(job_dir),
            *(part for option, number in (descriptors or {}).items() for part in (option, str(number))),
            "--chdir",
            JOB,
            "--",
            *self._identity(),
            *_resource_limits(limits),
            *command,
        ]

    def _namespaces(self) -> list[str]:
        if self.own_uid is None:
            return ["--unshare-all", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL"]
        spaces = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
        # kept only until setpriv, the first program inside, has used them
        return [*spaces, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]

    def _identity(self) -> list[str]:
        if self.own_uid is None:
            return ["setpriv", "--no-new-privs", "--"]
        uid = str(self.own_uid)
        drop = ("--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs", "--inh-caps=-all")
        return ["setpriv", *drop, "--"]

    def _environment(self, limits: Limits) -> list[str]:
        pairs = child_environment(limits.threads, self.variables, gpu=bool(self.devices))
        return ["--clearenv", *(part for name, value in pairs.items() for part in ("--setenv", name, value))]

    def _filesystem(self, job_dir: Path) -> list[str]:
        directories = [part for path in _ancestors(self.binds) for part in ("--dir", path)]
        binds = [part for path in self.binds for part in ("--ro-bind", path, path)]
        links = [part for target, name in self.links for part in ("--symlink", target, name)]
        return [
            *("--bind", str(job_dir / "tmp"), TMP),  # first: an interpreter may itself lie below /tmp
            *directories,
            *binds,
            *links,
            *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"),
            *(part for node in self.devices for part in ("--dev-bind", node, node)),
            *("--bind", str(job_dir / "shm"), SHM),  # on disk, where its bytes and its files are counted
            *("--bind", str(job_dir), JOB, "--ro-bind", str(job_dir / "input"), f"{JOB}/input"),
            *("--remount-ro", "/dev", "--remount-ro", "/"),
        ]


def child_environment(
    threads: int, variables: Sequence[tuple[str, str]] = (), tmp: str = TMP, *, gpu: bool = False
) -> dict[str, str]:
    """Everything that a command finds in its environment: caches inside the job, bounded threads, one GPU at most, and `variables`."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": tmp,
        "TMPDIR": tmp,
        "XDG_CACHE_HOME": f"{tmp}/cache",
        "LANG": "C.UTF-8",
        "LOGNAME": "step",
        "USER": "step",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "CUDA_VISIBLE_DEVICES": "0" if gpu else "",
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
        **{name: value.replace(TMP_VARIABLE, tmp) for name, value in variables},
    }


def choose(mode: str, seen: Seen, environ: Mapping[str, str] = os.environ) -> tuple[Sandbox | None, SandboxState]:
    """`detect`, unless the setting `sandbox` is off."""
    if mode == "off":
        return None, SandboxState(available=False, description="switched off by MODELPORT_SANDBOX=off")
    return detect(seen, environ)


def detect(seen: Seen, environ: Mapping[str, str] = os.environ) -> tuple[Sandbox | None, SandboxState]:
    """The sandbox of this machine, tried once with a real command, or None with the reason."""
    tools = {name: shutil.which(name, path=environ.get("PATH")) for name in ("bwrap", "setpriv", "prlimit")}
    missing = [name for name, path in tools.items() if path is None]
    if missing:
        packages = "install the system packages bubblewrap and util-linux"
        return None, SandboxState(available=False, description=f"not installed: {', '.join(missing)}; {packages}")
    filtered = "system call filter" if seccomp.is_supported() else "no system call filter"
    reason = ""
    for uid in dict.fromkeys((separate_uid(), None)):
        sandbox = make(str(tools["bwrap"]), seen, own_uid=uid)
        reason = _try(sandbox)
        if not reason:
            how = "user namespace" if uid is None else "own user id"
            return sandbox, SandboxState(available=True, description=f"bubblewrap, {how}, {filtered}")
    return None, SandboxState(available=False, description=f"bubblewrap does not work here: {reason}")


def separate_uid(uid_map: str = "/proc/self/uid_map") -> int | None:
    """A user id for the commands of this process alone; None without root or where this container has too few of them."""
    if os.geteuid() != 0:
        return None
    ranges = [[int(part) for part in line.split()] for line in Path(uid_map).read_text().splitlines()]
    highest = max((first + count for first, _, count in ranges), default=0)
    for base, span in UIDS:
        if highest >= base + span:
            return base + os.getpid() % span
    return None


def make(bwrap: str, seen: Seen = NOTHING, *, own_uid: int | None) -> Sandbox:
    """A sandbox that shows this interpreter, /usr and what is to be `seen`."""
    links, system = [], ["/usr"]
    for name in SYSTEM_LINKS:
        path = Path("/") / name
        if path.is_symlink():
            links.append((str(path.readlink()), str(path)))
        elif path.is_dir():
            system.append(str(path))
    wanted = [*system, *SYSTEM_FILES, sys.prefix, sys.base_prefix, *seen.paths]
    return Sandbox(
        bwrap=bwrap,
        own_uid=own_uid,
        binds=_outermost(wanted),
        links=tuple(links),
        devices=seen.devices,
        variables=seen.variables,
    )


def _outermost(paths: Sequence[str]) -> tuple[str, ...]:
    """Existing paths without those that lie below another one, in order."""
    existing = [path for path in dict.fromkeys(paths) if Path(path).exists()]
    return tuple(p for p in existing if not any(p.startswith(f"{other}/") for other in existing if other != p))


def _ancestors(paths: Sequence[str]) -> list[str]:
    """Every folder above the paths, outermost first: bwrap would make them unreadable for a user id of its own."""
    found = {str(parent) for path in paths for parent in Path(path).parents} - {"/"}
    return sorted(found, key=lambda path: (path.count("/"), path))


def cpu_seconds(limits: Limits) -> int:
    """Of processor time, for each process: as much as its threads can use, and a minute for the start."""
    return int(limits.wall_s * limits.threads) + 60


def _resource_limits(limits: Limits) -> list[str]:
    return [
        "prlimit",
        f"--nproc={limits.processes}",
        f"--fsize={limits.file_bytes}",
        f"--data={limits.data_bytes}",
        f"--cpu={cpu_seconds(limits)}",
        "--core=0",
        f"--nofile={OPEN_FILES}",
        "--",
    ]


def _try(sandbox: Sandbox) -> str:
    """Run the interpreter inside; the reason why that fails, or nothing."""
    from servicekit.sandbox.job_dir import JobDir

    limits = Limits(memory_bytes=512 * MIB, wall_s=PROBE_TIMEOUT_S)
    try:
        with JobDir.temporary(sandbox.uid()) as job:
            argv = sandbox.argv(job.path, [sys.executable, "-S", "-c", "print('inside')"], limits)
            # the first process inside keeps what bwrap was started with
            clear = {"PATH": os.environ.get("PATH", os.defpath)}
            done = subprocess.run(argv, capture_output=True, timeout=PROBE_TIMEOUT_S, text=True, check=False, env=clear)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and done.stdout.strip() == "inside":
        return ""
    return done.stderr.strip()[-300:] or f"exit status {done.returncode}"
