"""The log is bounded, keeps both ends, and says what it left out."""

from pathlib import Path

from servicekit.sandbox.bounded_log import BoundedLog


def write(path: Path, limit: int, *pieces: bytes) -> bytes:
    log = BoundedLog(path, limit)
    for piece in pieces:
        log.write(piece)
    log.close()
    log.close()
    return path.read_bytes()


def test_a_short_log_is_whole(tmp_path: Path) -> None:
    assert write(tmp_path / "log", 100, b"one\n", b"two\n") == b"one\ntwo\n"


def test_a_log_of_exactly_the_limit_is_whole(tmp_path: Path) -> None:
    assert write(tmp_path / "log", 10, b"01234", b"56789") == b"0123456789"


def test_the_middle_of_a_long_log_is_left_out(tmp_path: Path) -> None:
    text = write(tmp_path / "log", 10, b"abcde", *[b"." * 7] * 50, b"vwxyz")
    assert text.startswith(b"abcde\n")
    assert text.endswith(b"\nvwxyz")
    assert b"350 bytes" in text


def test_one_giant_write_is_cut_in_the_middle(tmp_path: Path) -> None:
    text = write(tmp_path / "log", 10, b"abcde" + b"." * 1000 + b"vwxyz")
    assert text.startswith(b"abcde\n")
    assert text.endswith(b"\nvwxyz")


def test_the_beginning_can_be_read_while_the_step_runs(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 1000)
    log.say("loading")
    assert (tmp_path / "log").read_bytes() == b"[run] loading\n"
    log.close()
