"""Keys and tokens: recognisable, checked without a look-up, stored as digests."""

import re

from hypothesis import given
from hypothesis import strategies as st

from contracts import credentials as c


def test_shape():
    key = c.mint(c.API_KEY_PREFIX)
    assert re.fullmatch(r"pk_[0-9A-Za-z]{36}", key)
    assert c.is_well_formed(key, "pk")
    assert not c.is_well_formed(key, "mp")


def test_secrets_differ():
    assert len({c.mint("mp") for _ in range(200)}) == 200


@given(st.text(alphabet=c.ALPHABET, min_size=36, max_size=36))
def test_a_guess_is_not_well_formed_but_by_its_checksum(body):
    assert c.is_well_formed(f"pk_{body}", "pk") == (c._checksum(body[:30]) == body[30:])


@given(st.integers(0, 35), st.sampled_from(c.ALPHABET))
def test_one_wrong_character_is_found(position, letter):
    prefix, body = c.mint("pk").split("_")
    typo = body[:position] + letter + body[position + 1 :]
    assert c.is_well_formed(f"{prefix}_{typo}", "pk") == (typo == body)


@given(st.text(max_size=60))
def test_any_text_is_answered(text):
    assert c.is_well_formed(text, "pk") in (True, False)
    assert not c.is_well_formed(f"pk_{text}é", "pk")


def test_digest_depends_on_the_pepper_and_shows_nothing():
    key = c.mint("pk")
    assert c.digest(key, "a") == c.digest(key, "a") != c.digest(key, "b")
    assert re.fullmatch("[0-9a-f]{64}", c.digest(key, "a"))
    assert key.startswith(c.shown(key))
    assert len(c.shown(key)) == 8
