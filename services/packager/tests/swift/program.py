"""The Swift wrapper's core as Python modules run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from . import library, operators, runtime
from .translate import translate

APPLE = frozenset({"CoreML", "ImageIO", "Darwin", "OnnxRuntimeBindings"})
CORE = "ModelWrapperCore"
ROOT = Path(str(files("packager"))) / "runtimes" / "swift"


def module_of(path: Path) -> str:
    parts = path.parts
    if parts[0] == "Sources" and parts[1] != "ModelWrapper":
        return parts[1]
    return "tests" if parts[0] == "Tests" else "ModelWrapper"


@cache
def sources() -> Mapping[tuple[str, str], str]:
    """All sources but the build file, by module and path."""
    return dict(_sources())


def _sources() -> Iterator[tuple[tuple[str, str], str]]:
    for path in sorted(ROOT.rglob("*.swift")):
        inside = path.relative_to(ROOT)
        if inside.name != "Package.swift":
            yield (module_of(inside), str(inside)), path.read_text(encoding="utf-8")


def sample() -> dict[tuple[str, str], str]:
    """The app for iOS."""
    root = ROOT.parents[1] / "samples" / "ios" / "ModelSample.swiftpm" / "Sources"
    return {("sample", path.name): path.read_text(encoding="utf-8") for path in sorted(root.glob("*.swift"))}


def core(changed: Mapping[str, tuple[str, str]] | None = None) -> dict[str, Any]:
    """The core's declarations, ready to be called; `changed` replaces text in a file: path to (old, new)."""
    texts = {place: text for place, text in sources().items() if place[0] == CORE}
    for (module, path), text in list(texts.items()):
        old, new = (changed or {}).get(Path(path).name, ("", ""))
        if old:
            assert old in text
            texts[module, path] = text.replace(old, new, 1)
    program = translate(texts)
    names: dict[str, Any] = {**vars(runtime), **vars(operators), **vars(library), **library.NAMES, "cache": cache}
    names["G"] = type("G", (), {})
    exec(compile(program.python, "core.swift", "exec"), names)
    return names
