"""labels.txt: the number of a line is the class, whatever the names are."""

import re
import sys

import pytest

from contracts.errors import Permanent
from contracts.labels import MAX_LABELS, as_text, labels, words
from contracts.model_package import PRINTABLE


def test_a_line_is_its_class():
    assert as_text({2: "cat", 0: "dog"}) == "dog\n1\ncat\n"
    assert as_text({}) == ""


@pytest.mark.parametrize("name", ["", " ", "\u00a0\u3000"])
def test_a_name_that_cannot_be_seen_does_not_move_the_others(name):
    lines = as_text({0: name, 1: "cat"}).splitlines()
    assert [line for line in lines if line.strip()] == lines == ["0", "cat"]


def test_a_class_beyond_all_is_refused():
    assert len(labels({MAX_LABELS - 1: "last"})) == MAX_LABELS
    with pytest.raises(Permanent, match="class 32768"):
        labels({MAX_LABELS: "one more"})


def test_what_breaks_lines_is_no_name():
    pattern = re.compile(PRINTABLE)
    for code in range(sys.maxunicode + 1):
        if len(f"a{chr(code)}b".splitlines()) > 1:
            assert not pattern.match(f"a{chr(code)}b"), hex(code)


def test_words_hold_no_spaces():
    assert words({0: "traffic light", 1: "\u00a0a  b\u3000", 2: ""}) == ["traffic_light", "a_b", "2"]
