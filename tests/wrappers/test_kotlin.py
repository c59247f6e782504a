"""The Kotlin wrapper on packages of real exports, on the JVM: its own verification, and the Python wrapper's predictions."""

import os
import subprocess
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from packager.toolchains import kotlin
from packager.toolchains.downloads import default_cache
from packager.toolchains.kotlin import EXAMPLE, Kotlin
from processing.masks import Mask

from .conftest import Answers, answers

LIMIT_S = 300


@pytest.fixture(scope="module")
def wrapper() -> Kotlin:
    return kotlin.build(default_cache())


def run(wrapper: Kotlin, command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **wrapper.environment}
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S)


def test_every_golden_vector_is_repeated(wrapper: Kotlin, package: Path) -> None:
    done = run(wrapper, wrapper.verify(package))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-4000:]
    *lines, total = done.stdout.splitlines()
    assert len(lines) > 64
    assert all(line.startswith("pass  ") for line in lines)
    assert total == f"{len(lines)} of {len(lines)} checks passed"


def test_the_example_predicts_what_python_predicts(
    wrapper: Kotlin, package: Path, pictures: list[Path], python_answers: Callable[..., Answers]
) -> None:
    options = ["--confidence-threshold", "0.05"]
    done = run(wrapper, wrapper.command(EXAMPLE, *options, *map(str, pictures)), cwd=package / "runtimes" / "kotlin")
    assert (done.returncode, done.stderr) == (0, "")
    got, expected = answers(done.stdout), python_answers(package, pictures, *options)
    assert sum(map(len, expected)) > 0
    same(got, expected)


def same(got: Answers, expected: Answers) -> None:
    """The same predictions in the same order; the two runtimes add up in the same order, their exp may differ in the last digit."""
    assert [[p["class_name"] for p in each] for each in got] == [[p["class_name"] for p in each] for each in expected]
    for one, other in zip(chain(*got), chain(*expected), strict=True):
        assert one.keys() == other.keys()
        for field in one.keys() - {"class_name", "mask"}:
            if other[field] is not None:
                np.testing.assert_allclose(one[field], other[field], rtol=1e-5, atol=1e-3)
        if "mask" in one:
            a, b = (Mask(tuple(p["mask"]["size"]), tuple(p["mask"]["counts"])).array() for p in (one, other))
            assert (a ^ b).sum() <= max(2, a.size // 10_000)


def test_a_changed_file_and_a_changed_rule_are_told(wrapper: Kotlin, detector_package: Path, tmp_path: Path) -> None:
    changed = tmp_path / "package"
    changed.mkdir()
    for path in detector_package.iterdir():
        if path.name != "metadata.json":
            (changed / path.name).symlink_to(path)
    metadata = (detector_package / "metadata.json").read_text()
    (changed / "metadata.json").write_text(metadata.replace('"letterbox"', '"stretch"'))
    done = run(wrapper, wrapper.verify(changed, "--without-model"))
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert failed
    assert all(line.split()[1] in ("preprocess", "postprocess") for line in failed)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "usage: example"),
        (["--top-k"], 2, "usage: example"),
        (["--top-k", "two", "0.png"], 2, "usage: example"),
        (["nowhere.png"], 1, "example: nowhere.png"),
        (["--top-k", "2", "0.png"], 1, "example: top_k: is for classifiers; use max_detections"),
        (["--iou-threshold", "7", "0.png"], 1, "example: iou_threshold: must be from 0 to 1, not 7.0"),
    ],
)
def test_what_the_example_cannot_do_it_says(
    wrapper: Kotlin, detector_package: Path, pictures: list[Path], arguments: list[str], code: int, told: str
) -> None:
    files = [str(pictures[0]) if argument == "0.png" else argument for argument in arguments]
    command = wrapper.command(EXAMPLE, "--package", str(detector_package), *files)
    done = run(wrapper, command)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(told)


def test_an_unknown_option_of_verify_is_refused(wrapper: Kotlin, tmp_path: Path) -> None:
    done = run(wrapper, wrapper.verify(tmp_path, "--fast"))
    assert done.returncode == 2
    assert done.stderr.startswith("usage: verify")
