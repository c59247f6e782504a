"""The label of a scanner: it names what it sees, and stumbling over a file costs the label alone."""

import pickle
from pathlib import Path

import pytest

from export_worker.scan import scan


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1",)


@pytest.mark.parametrize(
    ("name", "body", "verdict"),
    [
        ("model.pkl", pickle.dumps({"a": 1}), "clean"),
        ("model.pkl", pickle.dumps(Evil()), "dangerous"),
        ("model.pt", b"PK\x03\x04 damaged", "not scanned"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}", "clean"),
    ],
)
def test_a_file_has_a_label(tmp_path: Path, name: str, body: bytes, verdict: str) -> None:
    path = tmp_path / name
    path.write_bytes(body)
    told = scan(path)
    assert told.verdict == verdict
    assert told.tool.startswith("picklescan ")
    assert ("builtins.eval" in " ".join(told.found)) == (verdict == "dangerous")


def test_a_folder_has_one_too(tmp_path: Path) -> None:
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(Evil()))
    assert scan(tmp_path).verdict == "dangerous"
