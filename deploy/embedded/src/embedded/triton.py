"""The real Triton from its own environment: backend folder, command line, surroundings."""

import shutil
import sysconfig
from importlib.resources import files
from pathlib import Path

from embedded.ports import Ports
from embedded.program import Program, StartError, answers
from servicekit.servers import LOOPBACK

PYTHON_BACKEND_FILES = ("libtriton_python.so", "triton_python_backend_utils.py")
STUB = "triton_python_backend_stub"
SHARED_MEMORY = Path("/") / "dev" / "shm"


def build_backends(serving: Path, folder: Path) -> None:
    """The `python` backend and, on top of it, our `onnxruntime`: real copies, Triton refuses symbolic links."""
    pytriton = _site_packages(serving) / "pytriton" / "tritonserver"
    python, onnxruntime = folder / "python", folder / "onnxruntime"
    for target in (python, onnxruntime):
        target.mkdir(parents=True, exist_ok=True)
    for name in PYTHON_BACKEND_FILES:
        shutil.copy(pytriton / "backends" / "python" / name, python / name)
    shutil.copy(pytriton / "python_backend_stubs" / "3.11" / STUB, python / STUB)
    (onnxruntime / "model.py").write_text((files("embedded") / "triton_backend" / "model.py").read_text())


def triton_program(serving: Path, home: Path, ports: Ports, environment: dict[str, str]) -> Program:
    """Triton on the three loopback ports with explicit model control: it loads what the deployer sends, nothing else."""
    if not (serving / "bin" / "python").exists():
        raise StartError("triton", f"its environment {serving} is missing", "run 'make setup-demo'")
    backends, models = home / "backends", home / "models"
    models.mkdir(parents=True, exist_ok=True)
    build_backends(serving, backends)
    prefix = f"modelport-{ports.triton_http}-"
    flags = {
        "model-repository": models,
        "backend-directory": backends,
        "backend-config": f"python,shm-region-prefix-name={prefix}",
        "model-control-mode": "explicit",
        "strict-readiness": "false",
        "exit-timeout-secs": 4,
        "http-address": LOOPBACK,
        "http-port": ports.triton_http,
        "grpc-address": LOOPBACK,
        "grpc-port": ports.triton_grpc,
        "metrics-address": LOOPBACK,
        "metrics-port": ports.triton_metrics,
    }
    server = _site_packages(serving) / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    options = tuple(f"--{flag}={value}" for flag, value in flags.items())
    return Program(
        name="triton",
        argv=(str(server), *options, "--disable-auto-complete-config"),
        cwd=str(home),
        env=_surroundings(serving, environment),
        ports=(ports.triton_http, ports.triton_grpc, ports.triton_metrics),
        ready=answers(f"http://{LOOPBACK}:{ports.triton_http}/v2/health/ready"),
        clear=lambda: _drop_shared_memory(prefix),
        stop_grace_s=7.0,
    )


def _surroundings(serving: Path, environment: dict[str, str]) -> dict[str, str]:
    """The backend's stub takes its Python from `python3` on PATH and must find libpython and the wheel's own libraries."""
    kept = {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    libraries = (str(_site_packages(serving) / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR")))
    return kept | {"PATH": f"{serving / 'bin'}:{kept.get('PATH', '')}", "LD_LIBRARY_PATH": ":".join(libraries)}


def _site_packages(serving: Path) -> Path:
    return serving / "lib" / "python3.11" / "site-packages"


def _drop_shared_memory(prefix: str) -> None:
    """Regions that a killed Triton of these ports left in memory."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
