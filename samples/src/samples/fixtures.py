"""pytest fixtures for every package's tests; loading them also keeps the folder `samples/` from shadowing the package."""

from collections.abc import Callable
from pathlib import Path

import pytest

from samples.cache import Sample, describe
from samples.shapes import write_pictures


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Sample]:
    """`sample("digits-timm")`: the trained sample, from the cache where it is there."""
    return describe


@pytest.fixture(scope="session")
def sample_pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The demo's pictures: wide, tall, large, square; PNG and JPEG."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))
