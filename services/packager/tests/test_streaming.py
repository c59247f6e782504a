"""A large model through the packager as a process of its own: its memory does not grow with the model."""

import asyncio
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.streaming import LIMIT_MB, MB, MODEL_BYTES, walk
from packager import export_package

from .conftest import make_artefact

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(3600)]
SMALLER_BYTES = 400_000_000
"""More than the limit, and little enough for every run of the tests."""


def test_a_packager_s_memory_does_not_grow_with_the_model(
    tmp_path: Path, trials: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    size = trials(SMALLER_BYTES, MODEL_BYTES)
    artefact = make_artefact(tmp_path)
    package = asyncio.run(export_package.assemble(artefact.metadata, artefact.sources(), tmp_path))
    with zipfile.ZipFile(package.zip) as zipped:
        zipped.extractall(tmp_path / "package")
    (tmp_path / "place").mkdir()
    peaks = asyncio.run(walk(tmp_path / "package", size, tmp_path / "place", print))
    assert [peak.what for peak in peaks] == ["export package", "edge package", "container"]
    assert all(peak.package_bytes > size for peak in peaks)
    worst = max(peak.megabytes for peak in peaks)
    figure(
        f"MB in a packager's memory while it makes packages of a model of {size / MB:.0f} MB",
        trials=len(peaks),
        measured=round(worst),
        promised=f"≤ {LIMIT_MB:.0f}",
    )
    assert worst <= LIMIT_MB < size / MB
