"""A preflight from the command line to the sandbox and back, on the real stack."""

import json
import os
import re
import subprocess
import sys

import pytest

from contracts.vocabulary import ExportFormat, Proof
from modelport.errors import ApiError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
X = ExportFormat


def test_every_format_is_foreseen_and_the_same_is_not_looked_at_twice(
    owner, detector_training, detector_export
) -> None:
    found = owner.client.exports.preflight(detector_training.id, sleep=lambda _: None)
    assert found.is_answered
    assert found.error is None
    formats = {one.format: one for one in found.formats}
    assert list(formats) == list(X)
    assert formats[X.ONNX].supported
    assert formats[X.ONNX].route == ("torch", "onnx")
    assert formats[X.ONNX].proof is Proof.VERIFIED
    assert formats[X.ONNX].available
    assert formats[X.ONNX].expected_seconds > 0
    size = detector_export.model_size_bytes
    assert formats[X.ONNX].expected_size_bytes == pytest.approx(size, rel=0.02)
    again = owner.client.exports.preflight(detector_training.id)
    assert again.cached
    for one in found.formats:
        later = next(other for other in again.formats if other.format is one.format)
        assert (later.supported, later.expected_size_bytes) == (one.supported, one.expected_size_bytes)


def test_another_tenant_sees_neither_it_nor_what_was_kept(owner, person, detector, detector_training) -> None:
    theirs = owner.client.exports.preflight(detector_training.id)
    stranger = person()
    own = stranger.client.exports.preflight(stranger.register(detector).id)
    assert not own.cached
    assert own.is_answered
    with pytest.raises(ApiError, match="No such training"):
        stranger.client.exports.preflight(detector_training.id)
    assert theirs.preflight_id != own.preflight_id


def test_an_export_that_would_fail_is_not_begun(stack, detector, tmp_path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELPORT_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "modelport", *arguments],
            cwd=tmp_path,
            env={**environment, "MODELPORT_HOME": str(stack.home)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    what = ("--framework", "ultralytics", "--task", "object_detection", "--model-name", "yolo11n")
    refused = ("--format", "coreml", "--set", "embed_nms=true")
    ran = run("export", str(detector.checkpoint), *what, *refused, "--json")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert (told["format"], told["supported"], told["code"]) == ("coreml", False, "unsupported")
    assert "embed_nms" in told["reason"]
    training = re.search(r"registered as training (\S+)", ran.stderr)[1]
    assert json.loads(run("exports", "--training", training, "--json").stdout) == []
    table = run("preflight", "--training-job", training).stdout
    assert all(str(name) in table for name in X)
