"""Names, labels and rules of Swift that a parser says nothing of: the sources keep them, and each fault that is put in is found."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from .program import APPLE, sample, sources
from .translate import translate


@pytest.mark.parametrize("modules", [frozenset(), APPLE], ids=["Linux", "Apple"])
def test_sources_name_what_is_declared(modules):
    assert translate(sources(), modules).problems == []


def test_the_app_for_ios_names_what_is_declared():
    texts = {**sources(), **sample()}
    assert translate(texts, APPLE).problems == []
    place = ("sample", "Drawing.swift")
    texts[place] = texts[place].replace("prediction.rotatedBox", "prediction.turnedBox")
    assert any("turnedBox" in problem for problem in translate(texts, APPLE).problems)


ROOT = Path(__file__).parents[4]
PAGES = (ROOT / "docs/wrappers/swift.md", Path(str(files("packager"))) / "templates/languages/swift.md")


@pytest.mark.parametrize("page", PAGES, ids=["docs", "README"])
def test_programs_that_are_shown_name_what_is_declared(page):
    (code,) = re.findall(r"^```swift\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    texts = {**sources(), ("documented", "main.swift"): code}
    assert translate(texts, APPLE).problems == []
    texts["documented", "main.swift"] = code.replace("found.className", "found.label")
    assert any("label" in problem for problem in translate(texts, APPLE).problems)


FAULTS = [
    ("NMS.swift", "overlap(apart", "overlapping(apart", "cannot find overlapping"),
    ("NMS.swift", "let shared =", "let share =", "cannot find shared"),
    ("NMS.swift", "iou: Float, limit", "_ iou: Float, limit", "no suppress takes"),
    ("NMS.swift", "return (box[2]", "_ = (box[2]", "missing return in area"),
    ("NMS.swift", "var kept", "let kept", "kept is a constant"),
    ("Masks.swift", "try checkRuns", "checkRuns", "not marked with 'try'"),
    ("Masks.swift", "_ number: Int) throws", "_ number: Int)", "errors thrown from checkRuns"),
    ("Geometry.swift", "top: cutOffset(want: spec", "top: cutOffset(spec", "no cutOffset takes"),
    ("Geometry.swift", "source.height <= source", "source.tall <= source", "nothing has a member tall"),
    ("Geometry.swift", "case .stretchCrop:\n            return stretchCrop(spec, source)\n", "", "switch must be exhaustive"),
    ("Pipeline.swift", "modelFile = try", "_ = try", "init does not give modelFile"),
    ("Pipeline.swift", "table = Pipeline.norm", "table = norm", "static member normalizationTable"),
    ("JSONParser.swift", "private mutating func skipSpace", "private func skipSpace", "not mutating"),
    ("Kernels.swift", "static func clipped", "private static func clipped", "clipped is private"),
    ("Spec.swift", "let dtype = embedded", "let type = embedded", "cannot find dtype"),
    ("Rotated.swift", "let points = corners(box)", "let points = corners(box)\n        let unused = 1", "unused is never used"),
    ("Verification.swift", "public init(subject", "init(subject", "Check is not public"),
    ("ModelWrapper.swift", "Backends.load(", "Backends.open(", "has no member open"),
    ("Regions.swift", "sum += exp", "sum =+ exp", ""),
    ("Spec.swift", "part.sizeOrNil(\"resize_to\")", "part.has(\"resize_to\") ? try part.size(\"resize_to\") : nil", ""),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "problem"), FAULTS, ids=[f"{one[0]} {one[2][:30]}" for one in FAULTS])
def test_faults_are_found(file, old, new, problem):
    texts = dict(sources())
    (place,) = [one for one in texts if one[1].endswith(f"/{file}") or one[1] == file]
    assert old in texts[place]
    texts[place] = texts[place].replace(old, new, 1)
    try:
        found = translate(texts).problems
    except SyntaxError as refused:
        found = [str(refused)]
    assert any(problem in one for one in found), found
