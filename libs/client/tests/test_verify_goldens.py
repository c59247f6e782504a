"""What `verify` runs of a package, and what it tells where that cannot be."""

import sys

import pytest

from modelport.packages import goldens
from modelport.packages.report import Outcome

from .packages import zipped
from .verifying import SOMEBODY, checked, failure, unpacked


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return zipped(tmp_path_factory.mktemp("package"), SOMEBODY)


def test_what_cannot_be_run_is_named(tmp_path):
    path = zipped(tmp_path, SOMEBODY, texts={goldens.REQUIREMENTS: b"msgspec\nno-such-runtime==1.0  # why\n"})
    report = checked(path, python=sys.executable)
    assert not report.has_failed
    assert not report.is_complete
    assert report.checks[-1].outcome is Outcome.NOT_RUN
    assert "no-such-runtime==1.0" in report.checks[-1].detail
    assert "pip install" in report.checks[-1].hint


def test_goldens_that_do_not_pass_are_a_failure_with_their_line(tmp_path):
    path = zipped(tmp_path, SOMEBODY, texts={"model.onnx": b"a model that computes something else"})
    name, detail = failure(path, python=sys.executable)
    assert name == goldens.NAME
    assert "model FAILED" in detail
    assert "0 of 1 checks passed" in detail


def test_another_release_than_the_required_one_is_told(tmp_path):
    path = zipped(tmp_path, SOMEBODY, texts={goldens.REQUIREMENTS: b"msgspec==0.0.1\n"})
    assert "in place of 0.0.1" in checked(path, python=sys.executable).checks[-1].detail


def test_nothing_of_a_changed_package_is_run(package, tmp_path):
    folder, witness = unpacked(package, tmp_path / "folder"), tmp_path / "witness"
    (folder / goldens.VERIFY).write_text(f"open({str(witness)!r}, 'w')")
    report = checked(folder, python=sys.executable)
    assert report.has_failed
    assert report.checks[-1].outcome is Outcome.NOT_RUN
    assert not witness.exists()


def test_the_tokens_of_the_user_are_not_handed_to_a_package(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELPORT_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    script = b"import os; print([n for n in os.environ if os.environ[n] == 'secret'], '1 of 1 checks passed')"
    path = zipped(tmp_path, SOMEBODY, texts={goldens.VERIFY: script})
    assert checked(path, python=sys.executable).checks[-1].detail == "[] 1 of 1 checks passed"
