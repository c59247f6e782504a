"""Builds and runs container packages with what this machine has: buildah or podman, runc or crun, no daemon, no registry.

A base image stands in for NVIDIA's: the real Triton of `.venv-serving` with the stack's backend for ONNX, laid out as there
(`tritonserver` on the path, backends in /opt/tritonserver/backends). What it needs of the system, libraries and Python, is
this machine's own, bound read-only, so that the image is small. A container has a network of its own with nothing but
loopback, so that its ports are those that the README names.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from embedded.triton import build_backends

SERVING = Path(__file__).parents[3] / ".venv-serving"
LIBRARIES = SERVING / "lib" / "python3.11" / "site-packages"
BASE_IMAGE = "localhost/modelport/tritonserver:stand-in"
PROGRAMS = ("podman", "buildah", "nsenter", "curl")
RUNTIMES = ("runc", "crun")
"""In this order: crun refuses machines with the old and the new control groups side by side."""
DRIVERS = ("overlay", "vfs")
INSTALL = "sudo apt-get install -y --no-install-recommends podman buildah runc crun curl util-linux"
PATIENCE_S = 180.0


class Engine:
    """Images and containers in a folder of their own; `close` leaves nothing of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._podman = ("podman", "--tmpdir", str(folder / "libpod"), "--cgroup-manager", "cgroupfs")
        self._containers: list[str] = []
        folder.mkdir(parents=True)
        self.environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(folder),
        }
        self._choose_driver()
        self._build_base()

    def _choose_driver(self) -> None:
        said = []
        for driver in DRIVERS:
            graph, run = self._folder / driver, self._folder / f"{driver}-run"
            text = f'[storage]\ndriver = "{driver}"\ngraphroot = "{graph}"\nrunroot = "{run}"\n'
            (self._folder / "storage.conf").write_text(text)
            asked = self.call((*self._podman, "info"), self._folder, check=False)
            if asked.returncode == 0:
                return
            said.append(f"{driver}: {asked.stderr.strip()}")
        pytest.skip(f"podman can keep no images here: {'; '.join(said)}")

    def _build_base(self) -> None:
        context = self._folder / "base"
        root = context / "rootfs"
        binaries = root / "opt" / "tritonserver" / "bin"
        binaries.mkdir(parents=True)
        shutil.copy(LIBRARIES / "pytriton" / "tritonserver" / "bin" / "tritonserver", binaries)
        build_backends(SERVING, root / "opt" / "tritonserver" / "backends")
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        for name in ("bin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        libraries = f"{LIBRARIES / 'nvidia_pytriton.libs'}:{python_home() / 'lib'}"
        (context / "Dockerfile").write_text(
            "FROM scratch\nCOPY rootfs /\n"
            f"ENV PATH=/opt/tritonserver/bin:{SERVING / 'bin'}:/usr/bin LD_LIBRARY_PATH={libraries}\n"
        )
        self.call(("buildah", "bud", "-t", BASE_IMAGE, "."), context)
        shutil.rmtree(context)

    def call(
        self, argv: Sequence[str], cwd: Path, *, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to its end; fails the test with what was said where that went wrong."""
        done = subprocess.run(
            argv, cwd=cwd, env=self.environment | environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        if check and done.returncode != 0:
            pytest.fail(f"{argv[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    @contextmanager
    def running(self, image: str) -> Iterator["Container"]:
        """A container of the image, running; stopped and removed afterwards."""
        name = f"modelport-{os.getpid()}-{len(self._containers)}"
        self._containers.append(name)
        try:
            yield self._started(name, image)
        finally:
            self.call((*self._podman, "rm", "-f", "-t", "0", name), self._folder)
            self._containers.remove(name)

    def _started(self, name: str, image: str) -> "Container":
        bound = [part for path in ("/usr", SERVING, python_home()) for part in ("-v", f"{path}:{path}:ro")]
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
        said = []
        for runtime in RUNTIMES:
            podman = (*self._podman, "--runtime", runtime)
            options = ("--name", name, "--network", "none", "--pull", "never", *limits, *bound)
            begun = self.call((*podman, "run", "-d", *options, image), self._folder, check=False)
            if begun.returncode == 0:
                pid = self.call((*podman, "inspect", "-f", "{{.State.Pid}}", name), self._folder).stdout.strip()
                return Container(self, podman, name, pid)
            said.append(f"{runtime}: {begun.stderr.strip()}")
            self.call((*self._podman, "rm", "-f", name), self._folder, check=False)
        pytest.skip(f"no container can be started here: {'; '.join(said)}")

    def close(self) -> None:
        """Remove images and storage; what is still mounted there is unmounted first."""
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((m for m in mounted if m.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(("umount", place), capture_output=True, check=True)
        shutil.rmtree(self._folder)


class Container:
    """One that runs; commands are run beside it, in its network, with this machine's files."""

    def __init__(self, engine: Engine, podman: Sequence[str], name: str, pid: str) -> None:
        self._engine, self._podman, self._name, self._pid = engine, podman, name, pid

    def beside(self, argv: Sequence[str], cwd: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What a user of this machine would type, where `localhost` is the container."""
        return self._engine.call(("nsenter", "-t", self._pid, "-n", *argv), cwd, check=check)

    def wait(self, command: str, cwd: Path) -> None:
        """Until the command succeeds; fails with the container's log where it ends before that."""
        deadline = time.monotonic() + PATIENCE_S
        while self.beside(("sh", "-c", command), cwd, check=False).returncode:
            if not self._is_running() or time.monotonic() > deadline:
                pytest.fail(f"the container does not become ready:\n{self.log()[-6000:]}")
            time.sleep(0.1)

    def log(self) -> str:
        asked = self._engine.call((*self._podman, "logs", self._name), Path("/"))
        return asked.stdout + asked.stderr

    def _is_running(self) -> bool:
        asked = self._engine.call((*self._podman, "inspect", "-f", "{{.State.Running}}", self._name), Path("/"))
        return asked.stdout.strip() == "true"


def python_home() -> Path:
    """Where the Python lies that `.venv-serving` is made of: the one that runs the tests."""
    return Path(sys.base_prefix)


def missing() -> str:
    """Why no container can be built and run here; empty where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if not any(shutil.which(name) for name in RUNTIMES):
        absent.append(" or ".join(RUNTIMES))
    if absent:
        return f"not installed: {', '.join(absent)}; install with: {INSTALL}"
    if os.geteuid() != 0:
        return "containers are started with networks and files of their own, which root alone may do: run the tests as root"
    return ""
