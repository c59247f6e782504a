"""Packages of exports as users unpack them, and their wrapper's predictions in a process that knows nothing else."""

import asyncio
import json
import os
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from contracts import keys
from export_worker import child
from packager import export_package
from packager.export_package import Sources
from samples.overlaps import Prediction
from samples.scenes import Scene

from .exporting import Exported

PREDICT = Path(__file__).with_name("packaged_predict.py")


def unpacked(made: Exported) -> Path:
    """The folder of the package that the packager makes of what the export left."""
    output = made.folder / "output"
    members = {path.name: path for path in output.iterdir() if path.name != keys.METADATA}
    sources = Sources(log=made.folder / "request.json", members=members)
    package = asyncio.run(export_package.assemble(made.metadata, sources, made.folder / "packing"))
    folder = made.folder / "package"
    with zipfile.ZipFile(package.zip) as archive:
        archive.extractall(folder)
    return folder


class Wrappers:
    """One process for many packages, so that the runtimes are imported once; `python` is the interpreter that has them."""

    def __init__(self, python: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "wrappers.log"
        environ = {"PATH": os.environ["PATH"], **child.QUIET, "OMP_NUM_THREADS": "2"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, str(PREDICT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environ,
                cwd=folder,
            )

    def predict(self, package: Path, scenes: Sequence[Scene]) -> list[list[Prediction]]:
        """What the wrapper of an unpacked package predicts of each picture."""
        pictures, answers = package.with_suffix(".npz"), package.with_suffix(".json")
        np.savez(pictures, **{f"{number:04d}": scene.picture for number, scene in enumerate(scenes)})
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        job = {"package": str(package), "pictures": str(pictures), "answers": str(answers)}
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        assert stdout.readline() == "done\n", self.log.read_text()[-4000:]
        told: list[list[Prediction]] = json.loads(answers.read_bytes())
        return told

    def __enter__(self) -> "Wrappers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
