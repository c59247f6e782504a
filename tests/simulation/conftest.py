"""`--seed 1234` plays one seed of the simulation again."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="play this seed of the simulation and no other")
