"""What a verifier in the sandbox prints is a stranger's: it is read as checks and causes, or passed over."""

import pytest

from packager.proofs import Check, _checks, _told, diagnosis

DEEP = b"[" * 100_000 + b"]" * 100_000
TRUE = Check("labels", "names", passed=True, detail="same")
LINE = b'{"subject":"labels","name":"names","passed":true,"detail":"same"}'


@pytest.mark.parametrize("noise", [b"hello", b"\xff\xfe", b'{"subject":1}', b'{"x":' + DEEP + b"}", b""])
def test_lines_that_are_no_checks_are_passed_over(noise: bytes) -> None:
    assert _checks(noise + b"\n" + LINE + b"\n" + noise) == (TRUE,)


@pytest.mark.parametrize("said", [b"", b"hello", b"\xff", b'["one"]', b'["a","b",' + DEEP + b"]"])
def test_an_answer_that_is_no_cause_is_unknown(said: bytes) -> None:
    assert diagnosis.cause(said) == diagnosis.UNKNOWN


def test_words_of_a_stranger_bring_no_control_characters() -> None:
    hostile = "a\u0000b\u001b[31m\u202ec\ud800\nd"
    assert diagnosis.cause(b'["a","b\\u0000c"]') == "a: b c"
    assert _told(Check("labels", hostile, passed=False, detail=hostile)).isprintable()
