"""What the demo says where the C++ wrapper cannot be built, and what it reads where it can."""

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from demo import cpp
from demo.agreement import rows
from demo.host import DemoError

from modelport.predictions import Prediction
from packager.toolchains.downloads import ToolchainError

LINE = '[{"class_id": 1, "class_name": "square", "confidence": 0.5, "bbox": [1, 2, 3, 4]}]'
FOUND = Prediction(class_name="square", class_id=1, confidence=0.5, bbox=(1.0, 2.0, 3.0, 4.0))


def ended(script: str) -> Future:
    """Programs that were built: a shell in the example's place."""
    made: Future = Future()
    made.set_result(SimpleNamespace(example=lambda package, picture: ["sh", "-c", script, picture]))
    return made


def test_what_is_lacking_is_told_by_name_and_compared_with_nothing():
    failed: Future = Future()
    failed.set_exception(ToolchainError("g++ is not installed (on Debian: apt-get install g++)\n" + "x" * 1000))
    run = cpp.predict(failed, SimpleNamespace(folder=Path()), Path("picture.png"))
    assert run.lacks.startswith("g++ is not installed (on Debian: apt-get install g++) x")
    assert len(run.lacks) == cpp.LACKS_SHOWN
    assert run.found == ()
    assert [row.agrees for row in rows([FOUND], [FOUND], *run.found, [FOUND])] == [True]


def test_a_wrapper_that_was_built_is_compared():
    run = cpp.predict(ended(f"echo '{LINE}'"), SimpleNamespace(folder=Path()), Path("picture.png"))
    assert run.found == ([FOUND],)
    assert [row.agrees for row in rows([FOUND], [FOUND], *run.found, [FOUND])] == [True]
    missing = cpp.predict(ended("echo '[]'"), SimpleNamespace(folder=Path()), Path("picture.png"))
    assert [row.agrees for row in rows([FOUND], [FOUND], *missing.found, [FOUND])] == [False]


def test_a_wrapper_that_was_built_and_fails_stops_the_demo():
    with pytest.raises(DemoError, match="no such class"):
        cpp.predict(ended("echo no such class >&2; exit 1"), SimpleNamespace(folder=Path()), Path("picture.png"))
