"""What of a step's forecasts is believed, and what is told of a step that was ended while it looked."""

import os
from pathlib import Path

import msgspec
import pytest

from contracts.errors import ErrorInfo, Permanent
from contracts.export_options import CoreMlOptions, OnnxOptions, TfliteOptions
from contracts.precision import PRECISIONS
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Precision
from export_worker.forecast.found import FILE, Foreseen
from export_worker.sandbox import forecasts
from servicekit.sandbox.job_dir import JobDir

X = ExportFormat
WISHES = (OnnxOptions(), CoreMlOptions(), TfliteOptions())
GOOD = Forecast(format=X.ONNX, supported=True, route=("torch", "onnx"), precisions=PRECISIONS[X.ONNX])
CRASH = ErrorInfo(code="step_crashed", message="It was ended by SIGSEGV.", hint="Read the log.")


@pytest.fixture
def job(tmp_path: Path) -> JobDir:
    return JobDir.create(tmp_path / "run", os.geteuid())


def left(job: JobDir, *found: Forecast, looks_at: X | None = None) -> None:
    body = msgspec.json.encode(Foreseen(forecasts=found, looks_at=looks_at))
    (job.path / "output" / FILE).write_bytes(body)


def test_a_step_knows_neither_who_is_alive_nor_codes_of_others(job: JobDir) -> None:
    forged = Forecast(
        format=X.COREML,
        supported=True,
        code="quota_exceeded",
        precisions=(Precision.FP16,) * 9000,
        available=False,
        waits_for="me",
        expected_seconds=1.0,
    )
    left(job, GOOD, forged, msgspec.structs.replace(GOOD, format=X.TFLITE))
    first, second, _ = forecasts.collect(job, WISHES)
    assert first == GOOD
    assert (second.supported, second.code) == (False, "conversion_failed")
    assert second.precisions == PRECISIONS[X.COREML]
    assert (second.available, second.waits_for, second.expected_seconds) == (True, "", None)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[" * 100_000,
        msgspec.json.encode(Foreseen(forecasts=(GOOD,))),
        b'{"forecasts": [{"format": "onnx", "supported": true, "reason": "\\u001b[31m"}]}',
        b'{"forecasts": [{"format": "onnx", "supported": true, "reason": "' + b"x" * 2000 + b'"}]}',
    ],
)
def test_anything_but_one_forecast_per_wish_is_refused(job: JobDir, body: bytes) -> None:
    (job.path / "output" / FILE).write_bytes(body)
    with pytest.raises(Permanent) as caught:
        forecasts.collect(job, WISHES)
    assert caught.value.code == "conversion_failed"


def test_what_was_foreseen_before_a_crash_counts(job: JobDir) -> None:
    left(job, GOOD, looks_at=X.COREML)
    first, second, third = forecasts.collect_begun(job, WISHES, CRASH)
    assert first == GOOD
    assert (second.format, second.supported, second.code) == (X.COREML, False, "step_crashed")
    assert second.reason == CRASH.message
    assert third.reason == "not looked at; looking at coreml: It was ended by SIGSEGV."


@pytest.mark.parametrize("looks_at", [None, X.OPENVINO, X.TFLITE])
def test_a_step_that_came_to_no_format_or_lies_has_foreseen_nothing(job: JobDir, looks_at: X | None) -> None:
    left(job, GOOD, looks_at=looks_at)
    assert forecasts.collect_begun(job, WISHES, CRASH) == ()
