"""Rules of the house that a linter cannot see: size of files, where SQL and subjects are written, what may be committed."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE_CEILING = 300
SIZE_CEILING = 1 << 20
SQL = re.compile(r"\b(SELECT\s.+\sFROM|INSERT INTO|UPDATE\s+\w+\s+SET|DELETE FROM)\b")
SQL_MODULES = re.compile(r"services/[^/]+/src/[^/]+/(store\.py|store/\w+\.py|ledger\.py)$")


def tracked(*patterns: str) -> list[Path]:
    """Files under version control that match."""
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module", autouse=True)
def _checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.fail("these rules read the list of tracked files: run them in a git checkout")


def test_no_python_file_is_over_the_ceiling() -> None:
    long = {
        str(p.relative_to(ROOT)): n for p in tracked("*.py") if (n := len(p.read_text().splitlines())) > LINE_CEILING
    }
    assert not long


def test_sql_is_written_in_store_modules_alone() -> None:
    sources = [p for p in tracked("services/*/src/**/*.py") if not SQL_MODULES.search(p.as_posix())]
    offenders = [str(p.relative_to(ROOT)) for p in sources if SQL.search(p.read_text())]
    assert sources
    assert not offenders


def test_subjects_are_written_in_contracts_alone() -> None:
    literal = re.compile(r"""["'](?:training|export|deployment|usage)\.\w+\.\w+\.v\d""")
    sources = tracked("services/*/src/**/*.py", "libs/servicekit/src/**/*.py", "libs/client/src/**/*.py")
    offenders = [str(p.relative_to(ROOT)) for p in sources if literal.search(p.read_text())]
    assert sources
    assert not offenders


def test_nothing_big_is_committed() -> None:
    big = {str(p.relative_to(ROOT)): p.stat().st_size for p in tracked() if p.stat().st_size > SIZE_CEILING}
    assert not big
