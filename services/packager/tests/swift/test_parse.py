"""Every Swift source that a package can bring is free of syntax errors, and the parser says so of one that is not."""

from importlib.resources import files

import pytest

from contracts.vocabulary import ExportFormat
from packager import wrappers
from packager.toolchains import swift

ROOTS = ("runtimes/swift", "samples/ios")
MAX_LINES = 300


def sources(root: str) -> dict[str, bytes]:
    folder = files("packager").joinpath(root)
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*.swift"))}


@pytest.mark.parametrize("root", ROOTS)
def test_sources_are_swift(root: str) -> None:
    found = sources(root)
    assert len(found) > 3
    assert swift.parse(found) == []


@pytest.mark.parametrize("root", ROOTS)
def test_sources_are_short(root: str) -> None:
    assert [path for path, source in sources(root).items() if source.count(b"\n") > MAX_LINES] == []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (b"func f() {\n    let a = 1\n", 1),
        (b"let a = 1\nlet b := 2\n", 2),
        (b"struct A {\n    var x: Int\n    func }\n", 3),
    ],
    ids=["a brace is missing", "no operator of Swift", "no name"],
)
def test_what_is_no_swift_is_found(source: bytes, line: int) -> None:
    problems = swift.parse({"good.swift": b"let a = 1\n", "bad.swift": source})
    assert problems
    assert {problem.path for problem in problems} == {"bad.swift"}
    assert line in {problem.line for problem in problems}


@pytest.mark.parametrize(("export_format", "uses"), [(ExportFormat.ONNX, b"true"), (ExportFormat.COREML, b"false")])
def test_only_onnx_models_need_another_package(export_format: ExportFormat, uses: bytes) -> None:
    build = wrappers.sources(export_format)[wrappers.SWIFT_BUILD]
    assert b"let usesOnnxRuntime = " + uses + b"\n" in build
