"""Creates the Python environments: `python3.11 deploy/environments.py demo|test`.

The workers' environments are those of `export_worker.toolchains`; the core's, `.venv`, also holds the services and the
embedded servers (layer `test` adds what tests need). `.venv-serving` holds Triton, `.venv-runtimes` what packages ask for
(`packager.environments`). Each environment ends with its smoke command. A stamp made of the pins and of every pyproject.toml makes a second run instant.
Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export_worker.toolchains import Toolchain
    from packager.environments import Environment

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "deploy" / "requirements"
CORE, SERVING = ROOT / ".venv", ROOT / ".venv-serving"
VERIFIERS = CORE / "verifiers.json"
"""What `packager.programs` writes at the end of the layer `test`."""
LAYERS = ("demo", "test")
PACKAGE_FOLDERS = ("libs/*", "services/*", "deploy/embedded", "samples")
TABLES = ("libs/contracts/src", "services/export-worker/src", "services/packager/src")
"""Where the tables of environments and their words lie, which import nothing that has to be installed."""
WORKER_PACKAGES = ("libs/contracts", "libs/servicekit", "libs/processing", "services/export-worker")
HEARTBEAT_S = 15.0
STARTED = time.monotonic()


def toolchains(layer: str) -> list[Toolchain]:
    """The environments that the layer installs, the core's first."""
    sys.path[:0] = [str(ROOT / folder) for folder in TABLES]
    table: tuple[Toolchain, ...] = importlib.import_module("export_worker.toolchains").TOOLCHAINS
    return [toolchain for toolchain in table if toolchain.requirements(layer)]


def runtimes(layer: str) -> list[tuple[Environment, Path]]:
    """The clean environments of the layer and those below it, in which the packager proves packages, and their folders."""
    sys.path[:0] = [str(ROOT / folder) for folder in TABLES]
    table = importlib.import_module("packager.environments")
    wanted = LAYERS[: LAYERS.index(layer) + 1]
    return [(one, ROOT / table.FOLDER / one.export_format) for one in table.ENVIRONMENTS if one.layer in wanted]


class SetupError(Exception):
    """A step failed; the message says which one, shows the end of its output and where the rest is."""


def say(line: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.1f} s] {line}", flush=True)


def packages() -> list[Path]:
    """Our own packages: every folder of the workspace that has a pyproject.toml."""
    found = (path for pattern in PACKAGE_FOLDERS for path in sorted(ROOT.glob(pattern)))
    return [path for path in found if (path / "pyproject.toml").is_file()]


def declared_dependencies() -> list[str]:
    """What our packages declare without extras, less the packages themselves."""
    projects = [tomllib.loads((path / "pyproject.toml").read_text())["project"] for path in packages()]
    folders = {_name(path.name) for path in packages()}
    own = {_name(project["name"]) for project in projects} | folders | {f"modelport-{name}" for name in folders}
    declared = {line for project in projects for line in project.get("dependencies", [])}
    return sorted(line for line in declared if _name(line) not in own)


def _name(requirement: str) -> str:
    for mark in "[<>=!~; ":
        requirement = requirement.split(mark, 1)[0]
    return requirement.strip().lower().replace("_", "-")


def digest(layer: str) -> str:
    """Changes when anything that decides the installed set changes."""
    files = [Path(__file__), *(REQUIREMENTS / f"{name}.txt" for name in ("serving", "overrides"))]
    files += [ROOT / "services/export-worker/src/export_worker/toolchains.py"]
    files += [ROOT / "services/packager/src/packager/environments.py"]
    for toolchain in toolchains(layer):
        files += [ROOT / toolchain.pins, *(REQUIREMENTS / f"{name}.txt" for name in toolchain.requirements(layer))]
    files += [path / "pyproject.toml" for path in packages()]
    parts = [str(ROOT), sys.version, *(f"{path}\n{path.read_text()}" for path in files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def stamp(layer: str) -> Path:
    return CORE / f"setup-{layer}.stamp"


def is_ready(layer: str, wanted: dict[str, str]) -> bool:
    """True where this layer, or a wider one, was installed from exactly these files and its environments are still there."""
    pythons = [_python(toolchain) for toolchain in toolchains(layer)]
    if not all(python.exists() for python in (*pythons, *(venv / "bin" / "python" for _, venv in runtimes(layer)))):
        return False
    if layer == "test" and not VERIFIERS.exists():
        return False
    wider = LAYERS[LAYERS.index(layer) :]
    return any(stamp(name).is_file() and stamp(name).read_text() == wanted[name] for name in wider)


def _python(toolchain: Toolchain) -> Path:
    return ROOT / toolchain.environment / "bin" / "python"


def run(title: str, argv: list[str], log: Path) -> None:
    """Runs one step with its output in `log`, a line every fifteen seconds, and the time it took."""
    began, done = time.monotonic(), threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            say(f"{title}: still at it after {time.monotonic() - began:.0f} s")

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        with log.open("a") as out:
            code = subprocess.run(
                argv, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=_environment(), check=False
            ).returncode
    finally:
        done.set()
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SetupError(f"{title} failed (exit code {code}):\n{tail}\nthe whole output: {log}")
    say(f"{title}: done in {time.monotonic() - began:.1f} s")


def _environment() -> dict[str, str]:
    """uv does not read pip's configuration: hand it the index, and let it trust the machine's certificates."""
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": ""}
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    if asked.returncode == 0 and asked.stdout.strip():
        environment.setdefault("UV_DEFAULT_INDEX", asked.stdout.strip())
    return environment


def create(venv: Path, title: str, log: Path) -> None:
    """An environment with pip, unless a working one is there; uv makes one without pip, which takes no time."""
    python = venv / "bin" / "python"
    if not (python.exists() and subprocess.run([python, "-c", ""], check=False).returncode == 0):
        uv = CORE / "bin" / "uv"
        by_venv = [sys.executable, "-m", "venv", "--clear", str(venv)]
        by_uv = [str(uv), "venv", "-q", "--clear", "--python", sys.executable, str(venv)]
        run(f"{title}: create", by_uv if uv.exists() else by_venv, log)


def pip_install(venv: Path, *arguments: str) -> list[str]:
    """pip's own command line: slower than uv by far, and the way out where uv cannot be had."""
    return [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile", *arguments]


def uv_install(venv: Path, *arguments: str) -> list[str]:
    python = str(venv / "bin" / "python")
    return [str(CORE / "bin" / "uv"), "pip", "install", "--python", python, *arguments]


def install_core(core: Toolchain, layer: str, log: Path) -> None:
    """Third-party packages of the services and of the core's toolchains."""
    wanted = [part for name in core.requirements(layer) for part in ("-r", str(REQUIREMENTS / f"{name}.txt"))]
    common = ("-c", str(ROOT / core.pins), *wanted, *declared_dependencies())
    if (CORE / "bin" / "uv").exists():
        overrides = str(REQUIREMENTS / "overrides.txt")
        run("core environment: packages", uv_install(CORE, "--override", overrides, *common), log)
        return
    run("core environment: packages (pip)", pip_install(CORE, *common), log)
    run("core environment: opencv", [str(CORE / "bin/python"), "-m", "pip", "uninstall", "-qy", "opencv-python"], log)
    headless = ("--force-reinstall", "--no-deps", "-c", str(ROOT / core.pins), "opencv-python-headless")
    run("core environment: opencv-headless", pip_install(CORE, *headless), log)


def install_frozen(toolchain: Toolchain, layer: str, log: Path) -> None:
    """An environment whose requirements are everything in it: nothing is resolved, and what another one has is linked, not copied."""
    venv, title = ROOT / toolchain.environment, f"{toolchain.name} environment"
    create(venv, title, log)
    wanted = [part for name in toolchain.requirements(layer) for part in ("-r", str(REQUIREMENTS / f"{name}.txt"))]
    run(f"{title}: packages", installer()(venv, "--no-deps", *wanted), log)


def finish(toolchain: Toolchain, ours: list[Path], layer: str, log: Path) -> None:
    """Our packages, editable and without resolving (their names stay off the registry), and the proof that the environment works."""
    venv, title = ROOT / toolchain.environment, f"{toolchain.name} environment"
    editable = [part for path in ours for part in ("-e", str(path))]
    run(f"{title}: our packages", installer()(venv, "--no-deps", "--no-build-isolation", *editable), log)
    run(f"{title}: smoke test", [str(_python(toolchain)), *toolchain.smoke(layer)], log)


def installer() -> Callable[..., list[str]]:
    return uv_install if (CORE / "bin" / "uv").exists() else pip_install


def install_serving(log: Path) -> None:
    create(SERVING, "serving environment", log)
    run("serving environment: Triton", installer()(SERVING, "-r", str(REQUIREMENTS / "serving.txt")), log)


def install_runtime(environment: Environment, venv: Path, log: Path) -> None:
    """Exactly what a package of the format asks for, linked from what the core has; imported once, which writes its bytecode."""
    title = f"{environment.export_format} runtime"
    create(venv, title, log)
    pins = ("-c", str(ROOT / "constraints.txt"))
    run(f"{title}: packages", installer()(venv, *pins, *environment.requirements()), log)
    imports = f"import {', '.join(environment.modules)}"
    run(f"{title}: smoke test", [str(venv / "bin" / "python"), "-I", "-c", imports], log)


def build_verifiers(log: Path) -> None:
    """The wrappers' programs in other languages that the packager verifies packages with; it tells what cannot be built here."""
    run("verifiers of packages", [str(CORE / "bin" / "python"), "-m", "packager.programs"], log)


def bootstrap_uv(log: Path) -> None:
    """uv installs the whole set in seconds where pip takes minutes; where it cannot be had, pip does the work."""
    if (CORE / "bin" / "uv").exists():
        return
    try:
        run("installer: uv", pip_install(CORE, "-c", str(ROOT / "constraints.txt"), "uv"), log)
    except SetupError as error:
        say(f"uv is not available, going on with pip ({str(error).splitlines()[0]})")


def set_up(layer: str, logs: Path) -> None:
    """All environments side by side; the others' packages behind the core's, from which they take what both have."""
    core, *others = toolchains(layer)
    system = [str(ROOT / "deploy" / "system-packages.sh"), layer]
    clean = runtimes(layer)
    with ThreadPoolExecutor(3 + len(others) + len(clean)) as pool:
        jobs = [pool.submit(run, "system packages", system, logs / "system.log")]
        create(CORE, "core environment", logs / "core.log")
        bootstrap_uv(logs / "core.log")
        jobs.append(pool.submit(install_serving, logs / "serving.log"))
        install_core(core, layer, logs / "core.log")
        jobs.append(pool.submit(finish, core, packages(), layer, logs / "core.log"))
        jobs += [pool.submit(_other, toolchain, layer, logs / f"{toolchain.name}.log") for toolchain in others]
        jobs += [pool.submit(install_runtime, one, venv, logs / f"runtime-{venv.name}.log") for one, venv in clean]
    for job in jobs:
        job.result()
    if layer == "test":
        build_verifiers(logs / "verifiers.log")


def _other(toolchain: Toolchain, layer: str, log: Path) -> None:
    install_frozen(toolchain, layer, log)
    finish(toolchain, [ROOT / path for path in WORKER_PACKAGES], layer, log)


def main(arguments: list[str]) -> int:
    if arguments not in [[layer] for layer in LAYERS]:
        print(f"usage: environments.py {'|'.join(LAYERS)}", file=sys.stderr)
        return 2
    if sys.version_info[:2] != (3, 11):
        print(
            f"Python 3.11 is needed, this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11", file=sys.stderr
        )
        return 1
    layer = arguments[0]
    logs = ROOT / ".cache" / "setup"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = {name: digest(name) for name in LAYERS}
        if is_ready(layer, wanted):
            return 0
        say(f"setting up '{layer}' (logs: {logs})")
        try:
            set_up(layer, logs)
        except SetupError as error:
            print(error, file=sys.stderr)
            return 1
        stamp(layer).write_text(wanted[layer])
        say("everything is installed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
