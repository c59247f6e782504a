"""Creates the Python environments: `python3.11 deploy/environments.py demo|test`.

`.venv` holds the services, the converters and the embedded servers (layer `test` adds what tests need);
`.venv-serving` holds Triton. A stamp made of the pins and of every pyproject.toml makes a second run instant.
Standard library only: this runs before anything is installed.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
REQUIREMENTS = ROOT / "deploy" / "requirements"
CORE, SERVING = ROOT / ".venv", ROOT / ".venv-serving"
LAYERS = {"demo": ("demo",), "test": ("demo", "test")}
PACKAGE_FOLDERS = ("libs/*", "services/*", "deploy/embedded", "samples")
HEARTBEAT_S = 15.0
STARTED = time.monotonic()


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
    names = ("serving", "overrides", *LAYERS[layer])
    files = [CONSTRAINTS, Path(__file__), *(REQUIREMENTS / f"{name}.txt" for name in names)]
    files += [path / "pyproject.toml" for path in packages()]
    parts = [str(ROOT), sys.version, *(f"{path}\n{path.read_text()}" for path in files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def stamp(layer: str) -> Path:
    return CORE / f"setup-{layer}.stamp"


def is_ready(layer: str, wanted: dict[str, str]) -> bool:
    """True where this layer, or a wider one, was installed from exactly these files."""
    wider = [name for name in LAYERS if set(LAYERS[layer]) <= set(LAYERS[name])]
    return any(stamp(name).is_file() and stamp(name).read_text() == wanted[name] for name in wider)


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


def install_core(layer: str, log: Path) -> None:
    """Third-party packages, then ours, editable and without resolving (their names stay off the registry)."""
    wanted = [argument for name in LAYERS[layer] for argument in ("-r", str(REQUIREMENTS / f"{name}.txt"))]
    common = ("-c", str(CONSTRAINTS), *wanted, *declared_dependencies())
    editable = [argument for path in packages() for argument in ("-e", str(path))]
    ours = ("--no-deps", "--no-build-isolation", *editable)
    if (CORE / "bin" / "uv").exists():
        overrides = str(REQUIREMENTS / "overrides.txt")
        run("core environment: packages", uv_install(CORE, "--override", overrides, *common), log)
        run("core environment: our packages", uv_install(CORE, *ours), log)
        return
    run("core environment: packages (pip)", pip_install(CORE, *common), log)
    run("core environment: opencv", [str(CORE / "bin/python"), "-m", "pip", "uninstall", "-qy", "opencv-python"], log)
    headless = ("--force-reinstall", "--no-deps", "-c", str(CONSTRAINTS), "opencv-python-headless")
    run("core environment: opencv-headless", pip_install(CORE, *headless), log)
    run("core environment: our packages (pip)", pip_install(CORE, *ours), log)


def install_serving(log: Path) -> None:
    create(SERVING, "serving environment", log)
    installer = uv_install if (CORE / "bin" / "uv").exists() else pip_install
    run("serving environment: Triton", installer(SERVING, "-r", str(REQUIREMENTS / "serving.txt")), log)


def bootstrap_uv(log: Path) -> None:
    """uv installs the whole set in seconds where pip takes minutes; where it cannot be had, pip does the work."""
    if (CORE / "bin" / "uv").exists():
        return
    try:
        run("installer: uv", pip_install(CORE, "-c", str(CONSTRAINTS), "uv"), log)
    except SetupError as error:
        say(f"uv is not available, going on with pip ({str(error).splitlines()[0]})")


def set_up(layer: str, logs: Path) -> None:
    system = [str(ROOT / "deploy" / "system-packages.sh"), layer]
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(run, "system packages", system, logs / "system.log")]
        create(CORE, "core environment", logs / "core.log")
        bootstrap_uv(logs / "core.log")
        jobs.append(pool.submit(install_core, layer, logs / "core.log"))
        jobs.append(pool.submit(install_serving, logs / "serving.log"))
    for job in jobs:
        job.result()


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
