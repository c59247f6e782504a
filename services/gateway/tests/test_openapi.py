"""The OpenAPI document is deterministic, complete and shown without any network."""

import json
import re
import subprocess
import sys
from importlib.resources import files

from gateway.app import ROUTES, describe
from gateway.describe import document


def test_the_document_is_the_same_each_time_and_needs_no_server() -> None:
    printed = subprocess.run([sys.executable, "-m", "gateway.describe"], capture_output=True, check=True).stdout
    assert printed == document(describe())
    assert printed.endswith(b"\n")


def test_every_route_is_described_with_its_errors_and_its_scope() -> None:
    paths = json.loads(document(describe()))["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    assert len(operations) == len(ROUTES)
    for operation in operations:
        assert operation["description"]
        assert operation["operationId"]
        problems = {status for status in operation["responses"] if status >= "400"}
        assert {"401", "403"} <= problems, operation["operationId"]
        assert operation["security"][0]["bearer"] in (["read"], ["write"], ["admin"])


def test_the_page_fetches_nothing_from_elsewhere() -> None:
    page = (files("gateway") / "static" / "openapi.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "openapi.json" in page
    assert len(page) < 1 << 20
