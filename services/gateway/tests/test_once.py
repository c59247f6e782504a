"""Stored answers give nothing away without the client's own key."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.once import seal, unseal


@given(st.binary(max_size=300))
def test_sealed_answers_open_with_the_key_and_pepper_alone(clear: bytes) -> None:
    sealed = seal(clear, "a key", "pepper")
    assert unseal(sealed, "a key", "pepper") == clear
    if len(clear) > 8:
        assert clear not in sealed
        assert unseal(sealed, "another key", "pepper") != clear
        assert unseal(sealed, "a key", "other pepper") != clear


def test_the_same_answer_never_looks_the_same() -> None:
    assert seal(b"pk_secret", "key", "pepper") != seal(b"pk_secret", "key", "pepper")
