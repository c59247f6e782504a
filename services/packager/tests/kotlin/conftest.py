"""The compiled Kotlin wrapper, and one process of it that answers many questions."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.toolchains import kotlin
from packager.toolchains.downloads import default_cache
from packager.toolchains.kotlin import Kotlin

from . import programs
from .probe import Probe


@pytest.fixture(scope="session")
def kotlin_wrapper() -> Kotlin:
    return kotlin.build(default_cache())


@pytest.fixture(scope="session")
def kotlin_program(kotlin_wrapper: Kotlin) -> programs.Program:
    return programs.build(kotlin_wrapper, default_cache())


@pytest.fixture(scope="session")
def probe(kotlin_wrapper: Kotlin, kotlin_program: programs.Program) -> Iterator[Probe]:
    running = Probe(kotlin_program.command(kotlin_wrapper), {**os.environ, **kotlin_wrapper.environment})
    yield running
    running.close()


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a metadata.json; its path."""

    def write(metadata: dict[str, Any]) -> str:
        path = tmp_path / "metadata.json"
        path.write_text(json.dumps(metadata), encoding="utf-8")
        return str(path)

    return write
