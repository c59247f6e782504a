"""Every code of an error is complete, and an error can be recorded."""

import pytest

from contracts.errors import ERRORS, ErrorInfo, FieldError, Permanent, Transient


@pytest.mark.parametrize("code", ERRORS)
def test_every_code_has_status_title_and_hint(code):
    kind = ERRORS[code]
    assert 400 <= kind.status < 600
    assert kind.title
    assert kind.hint.endswith(".")
    error = Permanent(code, "It is so.")
    assert (error.status, error.hint, str(error)) == (kind.status, kind.hint, "It is so.")


def test_a_code_that_is_not_in_the_table_is_a_bug():
    with pytest.raises(KeyError):
        Permanent("made_up", "x")


def test_the_record_of_an_error():
    error = Transient("unavailable", "Later.", hint="Wait.", fields=(FieldError("a", "b"),))
    info = ErrorInfo.of(error, stage="convert", operator="/conv", cause="x" * 3000)
    assert (info.code, info.hint, info.retryable, info.operator) == ("unavailable", "Wait.", True, "/conv")
    assert len(info.cause) == 2000
    assert not ErrorInfo.of(Permanent("not_found", "No.")).retryable
