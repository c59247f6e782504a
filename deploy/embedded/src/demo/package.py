"""The downloaded package, used as its receiver would: unpacked, with an interpreter of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec

from contracts.keys import METADATA
from contracts.model_package import ModelMetadata
from demo.host import DemoError
from modelport.predictions import Prediction

RUNTIME = Path("runtimes") / "python"
SCRIPT = """
import json, sys, time
from model_wrapper import ModelWrapper
model = ModelWrapper(sys.argv[1], sys.argv[2])
model.predict(sys.argv[3])
begin = time.perf_counter()
found = model.predict(sys.argv[3])
print(json.dumps({"predictions": [one.as_dict() for one in found], "milliseconds": (time.perf_counter() - begin) * 1000}))
"""


class WrapperRun(msgspec.Struct, frozen=True):
    """What the package's own wrapper found, and how long its second call took."""

    predictions: list[Prediction]
    milliseconds: float


class _Found(msgspec.Struct, frozen=True):
    """A prediction in the words of the wrapper."""

    class_name: str
    class_id: int
    confidence: float
    bbox: tuple[float, float, float, float] | None


class _Output(msgspec.Struct, frozen=True):
    predictions: list[_Found]
    milliseconds: float


class Package:
    """An unpacked export package."""

    def __init__(self, archive: Path, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
        self.folder = folder
        self.metadata = msgspec.json.decode((folder / METADATA).read_bytes(), type=ModelMetadata)

    def create_interpreter(self, folder: Path) -> Path:
        """A fresh virtual environment with the package's requirements.txt and nothing else."""
        requirements = self.folder / RUNTIME / "requirements.txt"
        stamp = folder / "requirements.txt"
        python = folder / "bin" / "python"
        if stamp.is_file() and stamp.read_text() == requirements.read_text():
            return python
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
        uv = Path(sys.executable).parent / "uv"
        if uv.exists():
            run([str(uv), "pip", "install", "-q", "--python", str(python), "-r", str(requirements)])
        else:
            run([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "-r", str(requirements)])
        shutil.copy(requirements, stamp)
        return python

    def predict(self, python: Path, picture: Path) -> WrapperRun:
        """Run the wrapper on a picture, isolated from this environment's packages."""
        model = self.folder / next(path.name for path in self.folder.iterdir() if path.name.startswith("model."))
        arguments = [str(model), str(self.folder / METADATA), str(picture)]
        output = run([str(python), "-s", "-c", SCRIPT, *arguments], cwd=self.folder / RUNTIME)
        seen = msgspec.json.decode(output, type=_Output)
        return WrapperRun(_as_client(seen.predictions), seen.milliseconds)


def predictions(line: str) -> list[Prediction]:
    """A JSON list as the wrappers of every language print it."""
    return _as_client(msgspec.json.decode(line, type=list[_Found]))


def _as_client(found: list[_Found]) -> list[Prediction]:
    return [Prediction(**msgspec.structs.asdict(one)) for one in found]


def run(command: list[str], cwd: Path | None = None) -> str:
    """What a program prints, in an environment without this one's Python; DemoError where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"UV_SYSTEM_CERTS": "1", "VIRTUAL_ENV": ""}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"'{' '.join(command[:4])} …' failed:\n{done.stderr[-2000:]}")
    return done.stdout
