"""Editions of a test, and the figures that it measures.

`--full` runs every trial that a promise names; without it a smaller edition of the same test runs. What tests measure is
printed at the end, and a full run keeps it in the tables of docs/reliability.md and docs/security.md.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from packager.toolchains.downloads import ToolMissing

PAGES = {"chaos": Path("docs/reliability.md"), "attack": Path("docs/security.md")}
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
HEAD = "| what | trials | measured | promised |\n|---|---|---|---|\n"


@dataclass(frozen=True)
class Figure:
    """One row: what was tried, how often, what came out, and what is promised."""

    page: str
    what: str
    trials: int
    measured: str
    promised: str

    @property
    def row(self) -> str:
        return f"| {self.what} | {self.trials} | {self.measured} | {self.promised} |"


FIGURES = pytest.StashKey[list[Figure]]()
Record = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="as many trials as the documents promise")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture(scope="session")
def trials(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """`trials(20, 500)`: how many trials this edition makes."""
    return lambda small, full: full if pytestconfig.getoption("full") else small


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Record:
    """`figure("acknowledged jobs lost", trials=500, measured=lost, promised=0)`; call it before the assertion."""
    pages = [page for page in PAGES if request.node.get_closest_marker(page)]
    assert pages, f"a test that keeps figures is marked with one of {sorted(PAGES)}"

    def record(what: str, *, trials: int, measured: object, promised: object) -> None:
        kept = Figure(pages[0], what, trials, str(measured), str(promised))
        request.config.stash[FIGURES].append(kept)

    return record


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with listed_where_missing():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with listed_where_missing():
        return (yield)


@contextmanager
def listed_where_missing() -> Iterator[None]:
    """A test that needs a compiler of the system is listed by its name with what installs it where that is not there."""
    try:
        yield
    except ToolMissing as error:
        pytest.skip(str(error))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tell_what_was_not_available(terminalreporter)
    found = config.stash[FIGURES]
    if not found:
        return
    terminalreporter.section("figures")
    for kept in found:
        terminalreporter.write_line(f"{kept.what}: {kept.measured} of {kept.trials} (promised: {kept.promised})")
    if config.getoption("full"):
        for page, path in PAGES.items():
            keep(config.rootpath / path, [kept for kept in found if kept.page == page])


def tell_what_was_not_available(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests that were skipped by their names, below what they lacked."""
    names: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        names.setdefault(report.longrepr[-1].removeprefix("Skipped: "), []).append(report.nodeid)
    if names:
        terminalreporter.section("not available")
    for reason, tests in names.items():
        terminalreporter.write_line(reason)
        for test in tests:
            terminalreporter.write_line(f"    {test}")


def keep(path: Path, found: list[Figure]) -> None:
    """Put the rows into the page's table: those of the same name are replaced, the others stay."""
    before, rest = path.read_text().split(BEGIN)
    table, after = rest.split(END)
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in table.strip().splitlines()[2:]}
    rows |= {kept.what: kept.row for kept in found}
    body = "".join(f"{row}\n" for row in rows.values())
    path.write_text(f"{before}{BEGIN}\n{HEAD}{body}{END}{after}")
