"""What of a hostile step's words is believed."""

import json

import pytest

from contracts.errors import ERRORS
from contracts.vocabulary import ExportStage
from export_worker.sandbox.messages import STEP_CODES, Done, Failed, Progress, Ready, parse, printable, verdict


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_the_four_messages_are_understood() -> None:
    assert parse(line(type="ready")) == Ready()
    assert parse(line(type="progress", stage="verify", fraction=0.5, message="half", more=1)) == Progress(
        stage=ExportStage.VERIFY, fraction=0.5, message="half"
    )
    assert parse(line(type="done", durations_s={"load": 1.5})) == Done(durations_s={ExportStage.LOAD: 1.5})
    told = parse(line(type="error", code="parity_failed", message="m", retryable=True))
    assert told == Failed(code="parity_failed", message="m")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"\xff",
        b"[" * 10_000,
        b'{"type":"progress","stage":"fetch","fraction":0.5}',
        b'{"type":"progress","stage":"package","fraction":0.5}',
        b'{"type":"progress","stage":"load","fraction":1.5}',
        b'{"type":"progress","stage":"load","fraction":NaN}',
        b'{"type":"done","durations_s":{"nonsense":1}}',
        b'{"type":"error","code":1,"message":"m"}',
        b'{"type":"exported"}',
    ],
)
def test_anything_else_is_log_text(text: bytes) -> None:
    assert parse(text) is None


def test_only_plausible_durations_are_kept() -> None:
    told = parse(line(type="done", durations_s={"load": -1, "fetch": 5, "verify": 1e9, "convert": 2}))
    assert told == Done(durations_s={ExportStage.CONVERT: 2.0})


def test_every_code_of_a_step_exists() -> None:
    assert set(ERRORS) >= STEP_CODES


def test_a_verdict_is_bounded_printable_and_never_retryable() -> None:
    error = verdict(Failed(code="worker_lost", message="\x1b[2J" + "x" * 9999, stage="fetch", cause="\u202egpj.exe"))
    assert error.code == "conversion_failed"
    assert error.message == ("[2J" + "x" * 9999)[:1000]
    assert (error.stage, error.cause, error.retryable) == ("", "gpj.exe", False)
    assert error.hint == ERRORS["conversion_failed"].hint


def test_an_empty_message_becomes_the_title() -> None:
    assert verdict(Failed(code="parity_failed", message="")).message == ERRORS["parity_failed"].title


def test_printable_keeps_lines_and_letters() -> None:
    assert printable("é\n\tok\r\x00", 10) == "é\n\tok"
