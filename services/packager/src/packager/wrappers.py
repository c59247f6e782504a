"""The runtimes inside a package: which files, from where, and what they need installed."""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from contracts.model_package import ModelMetadata
from contracts.vocabulary import ExportFormat, WrapperLanguage
from contracts.wrappers import LANGUAGES
from packager.environments import IMAGING, PINS, RUNTIMES

PYTHON = "runtimes/python"
SWIFT_BUILD = "runtimes/swift/Package.swift"
BEGINS: dict[WrapperLanguage, str] = {
    WrapperLanguage.PYTHON: "model_wrapper.py",
    WrapperLanguage.CPP: "model_wrapper.h",
    WrapperLanguage.SWIFT: "ModelWrapper.swift",
    WrapperLanguage.KOTLIN: "ModelWrapper.kt",
}
"""The file of a language that a reader opens first."""

_NOTES = {
    "coremltools": "# runs models on macOS alone",
    "tensorrt": "# engines run with the release that built them; NVIDIA's own index has it",
    "torch": "# pytorch.org tells how to get the much smaller build without CUDA",
    "pillow": "# resamples and decodes; other releases may differ by one level in some pixels",
    "opencv-python-headless": "# resamples and decodes",
}


def sources(export_format: ExportFormat) -> dict[str, bytes]:
    """The wrappers of the languages that run a format, by their path in the package: verbatim, but for what Swift is built with."""
    found = {path: data for each in LANGUAGES[export_format] for path, data in language_files(each).items()}
    if SWIFT_BUILD in found and export_format is not ExportFormat.ONNX:
        found[SWIFT_BUILD] = found[SWIFT_BUILD].replace(b"usesOnnxRuntime = true", b"usesOnnxRuntime = false")
    return found


def language_files(language: WrapperLanguage) -> dict[str, bytes]:
    """One language's wrapper, verbatim, by its path in the package; Python's with the pre- and post-processing."""
    roots = {f"runtimes/{language}": files("packager") / "runtimes" / language}
    if language is WrapperLanguage.PYTHON:
        roots[f"{PYTHON}/processing"] = files("processing")
    return {f"{root}/{path}": data for root, place in roots.items() for path, data in _files(place)}


def entry_points(members: Iterable[str]) -> dict[str, str]:
    """Of each language that lies among the paths of a package, the file where its wrapper begins."""
    paths = sorted(members)
    found = {}
    for language, name in BEGINS.items():
        here = [path for path in paths if path.startswith(f"runtimes/{language}/") and path.endswith(f"/{name}")]
        if here:
            found[str(language)] = min(here, key=len)
    return found


def requirements(metadata: ModelMetadata) -> str:
    """requirements.txt for this model: numpy, the runtime of its format, and the library that its kernel is named after."""
    imaging = IMAGING[metadata.preprocessing.resize.kernel]
    names = dict.fromkeys(("numpy", imaging, *_runtimes(metadata)))
    lines = [f"{name}{_release(name, metadata)}  {_NOTES.get(name, '')}".rstrip() for name in names]
    return "\n".join(["# Python 3.11 or newer", *lines, ""])


def _runtimes(metadata: ModelMetadata) -> list[str]:
    is_rtx = metadata.provenance.export_options.get("flavor") == "rtx"
    names = RUNTIMES[metadata.model_info.export_format]
    return ["tensorrt-rtx" if is_rtx and name == "tensorrt" else name for name in names]


def _release(name: str, metadata: ModelMetadata) -> str:
    """`==` and the release that made the model, where it must be that one, or else the one that it was verified with."""
    made_with = metadata.provenance.toolchain.get(name.replace("-", "_")) if name.startswith("tensorrt") else None
    release = made_with or PINS.get(name)
    return f"=={release}" if release else ""


def _files(root: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Every file below `root` but what interpreters and file systems leave behind."""
    for entry in sorted(root.iterdir(), key=lambda item: item.name):
        if entry.name.startswith((".", "__pycache__")):
            continue
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()
