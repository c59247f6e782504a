"""Packages that the running stack made of real exports, unpacked once for all languages, and pictures to try them on."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from contracts.model_package import ModelMetadata
from contracts.vocabulary import ExportStatus
from packager import environments
from processing import goldens
from samples.cache import describe

from ..stack import Person

ROOT = Path(__file__).parents[2]
Packages = Callable[..., Path]
Answers = list[list[dict[str, Any]]]
ONE_OF_EACH_TASK = (
    "digits-timm",
    "shapes-detector",
    "shapes-segmenter",
    "shapes-pose",
    "shapes-oriented",
    "shapes-segformer",
)
"""Samples; their exports to ONNX are shared by the tests of all languages."""
DRAWN = (("ramp", 160, 240, 1), ("noise", 97, 131, 2), ("ramp", 1, 64, 3), ("noise", 333, 1, 4), ("ramp", 480, 641, 5))


@pytest.fixture(scope="session")
def packages(owner: Person, tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """`packages("shapes-detector")`: the folder of the sample's unpacked package, exported where no test has asked for it before."""
    made: dict[tuple[str, str], Path] = {}

    def package(name: str, export_format: str = "onnx") -> Path:
        if (name, export_format) not in made:
            job = owner.export(owner.register(describe(name)), export_format)
            assert job.status is ExportStatus.COMPLETED, job.error
            wanted = owner.client.deployments.create(job.id, "download", "package")
            owner.client.deployments.wait(wanted.id)
            folder = tmp_path_factory.mktemp(f"{name}-{export_format}")
            archive = owner.client.deployments.download(wanted.id, folder.with_suffix(".zip"))
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(folder)
            made[name, export_format] = folder
        return made[name, export_format]

    return package


@pytest.fixture(scope="session", params=ONE_OF_EACH_TASK)
def package(request: pytest.FixtureRequest, packages: Packages) -> Path:
    """The package of one sample of each task, in ONNX; the export is this fixture's time and not the test's."""
    return packages(request.param)


@pytest.fixture(scope="session")
def detector_package(packages: Packages) -> Path:
    """A package for questions that one is enough for."""
    return packages("shapes-detector")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PNG files, which every language decodes to the same bytes."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, drawn in enumerate(DRAWN):
        Image.fromarray(goldens.draw(*drawn)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def python_answers() -> Callable[[Path, Sequence[Path]], Answers]:
    """What the Python wrapper of a package says of picture files; asked once for each package and list of options."""
    known: dict[tuple[object, ...], Answers] = {}

    def ask(package: Path, files: Sequence[Path], *options: str) -> Answers:
        key = (package, *files, *options)
        if key not in known:
            command = [
                str(interpreter(package)),
                str(package / "runtimes/python/example.py"),
                *options,
                *map(str, files),
            ]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
            assert done.returncode == 0, done.stderr
            known[key] = answers(done.stdout)
        return known[key]

    return ask


def interpreter(package: Path) -> Path:
    """The Python that has the package's runtime: the clean environment of its format, or else this one."""
    metadata = msgspec.json.decode((package / "metadata.json").read_bytes(), type=ModelMetadata)
    return environments.installed(ROOT / environments.FOLDER).get(
        metadata.model_info.export_format, Path(sys.executable)
    )


def answers(printed: str) -> Answers:
    """The lists of predictions that an example prints, one line a picture."""
    return [msgspec.json.decode(line) for line in printed.splitlines()]
