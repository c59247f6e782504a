"""Class names as the artefact itself tells them, read without the format's own library and held against metadata.json.

Whoever opens the model in another program gets its names from there, so a package whose two lists differ is not delivered.
A TensorRT engine has no place for them.
"""

import ast
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.parsers import expat

from msgspec import Struct, json

from contracts import labels
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata
from contracts.vocabulary import ExportFormat
from packager import protobuf
from servicekit.zips import require_short_directory

OWN, CONVENTIONAL = "modelport.names", "names"
MAX_BYTES = 16 << 20
"""Of one list of names, and of a zip's list of files."""
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENTRY = re.compile(r"""(\d{1,9}): ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(, |$)""")
"""Of a dict as Python writes it; read entry by entry, because a syntax tree of it would take a hundred times its bytes."""
Names = dict[int, str]
Claims = dict[str, Names]
"""Names by the place in the file that tells them."""


class _Own(Struct, rename={"names": OWN}):
    names: str


class _Conventional(Struct):
    names: dict[str, str]


def check(model: ModelMetadata, members: Mapping[str, Path]) -> None:
    """Raises Permanent("packaging_failed") naming the first class that a package's model calls otherwise than its metadata."""
    expected = {each.id: each.name for each in model.classes}
    for place, told in claims(model.model_info.export_format, members).items():
        wanted = _as_told(place, expected)
        for number in sorted(wanted.keys() | told.keys()):
            if wanted.get(number) != told.get(number):
                raise Permanent(
                    "packaging_failed",
                    f"class {number} is {wanted.get(number)!r} in metadata.json and {told.get(number)!r} in the model's {place}",
                )


def claims(export_format: ExportFormat, members: Mapping[str, Path]) -> Claims:
    """All that the model's own file says; `members` are the files of a package by their path in it.

    Raises Permanent("packaging_failed") for a file that cannot be read.
    """
    if export_format not in READERS:
        return {}
    path, reader = READERS[export_format]
    try:
        return reader(members[path])
    except (
        ValueError,
        SyntaxError,
        LookupError,
        RuntimeError,
        MemoryError,
        EOFError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
        expat.ExpatError,
    ) as error:
        raise Permanent("packaging_failed", f"the class names in {path} cannot be read: {error}") from error


def _as_told(place: str, names: Names) -> Names:
    """The names as a place writes them: lists of labels have a line for every number."""
    if place == "labels.txt":
        return dict(enumerate(labels.labels(names)))
    return dict(enumerate(labels.words(names))) if place == "model_info/labels" else names


def _texts(told: Mapping[str, str]) -> Claims:
    """Of metadata whose values are texts: ours in JSON, the conventional one as Python writes a dict."""
    readers: dict[str, Callable[[str], Names]] = {OWN: _from_json, CONVENTIONAL: _from_python}
    return {key: read(told[key]) for key, read in readers.items() if key in told}


def _from_json(text: str) -> Names:
    return _numbered(json.decode(_bounded(text), type=dict[str, str]))


def _from_python(text: str) -> Names:
    names, at, inside = {}, 0, _bounded(text).strip()[1:-1]
    if text.strip() != f"{{{inside}}}":
        raise ValueError("they are no table")
    while at < len(inside):
        entry = ENTRY.match(inside, at)
        if entry is None:
            raise ValueError(f"they are no table at character {at + 1}")
        names[int(entry[1])] = str(ast.literal_eval(entry[2]))
        at = entry.end()
    return names


def _numbered(names: Mapping[str, str]) -> Names:
    return {int(number): name for number, name in names.items()}


def _bounded(text: str) -> str:
    if len(text) > MAX_BYTES:
        raise ValueError(f"they are longer than {MAX_BYTES} characters")
    return text


def _protobuf(*path: int) -> Callable[[Path], Claims]:
    def read(file: Path) -> Claims:
        with file.open("rb") as opened:
            message = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        return _texts(protobuf.pairs(message, *path))

    return read


def _tflite(path: Path) -> Claims:
    require_short_directory(path, MAX_BYTES)
    with zipfile.ZipFile(path) as archive:
        told = {OWN: _own(_member(archive, "modelport.json"))}
        if "metadata.json" in archive.namelist():
            told["metadata.json"] = _conventional(_member(archive, "metadata.json"))
        told["labels.txt"] = dict(enumerate(_member(archive, "labels.txt").decode("utf-8").split("\n")[:-1]))
    return told


def _torchscript(path: Path) -> Claims:
    """Of extra files, which lie in a folder of any name."""
    told: Claims = {}
    require_short_directory(path, MAX_BYTES)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("/extra/modelport.json"):
                told[OWN] = _own(_member(archive, name))
            elif name.endswith("/extra/config.txt"):
                told["config.txt"] = _conventional(_member(archive, name))
    return told


def _own(told: bytes) -> Names:
    return _from_json(json.decode(told, type=_Own).names)


def _conventional(told: bytes) -> Names:
    return _numbered(json.decode(told, type=_Conventional).names)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(name)
    if entry.file_size > MAX_BYTES or entry.compress_type not in _COMPRESSIONS:
        raise ValueError(f"{name} is too large, or compressed in another way than zips of models are")
    with archive.open(name) as file:
        return file.read(MAX_BYTES)


def _openvino(path: Path) -> Claims:
    """Of runtime information, which is the last that an XML holds."""
    place: list[str] = []
    told: dict[str, str] = {}

    def begin(name: str, values: dict[str, str]) -> None:
        place.append(name)
        if place[:2] == ["net", "rt_info"] and len(place) == 4:
            told["/".join(place[2:])] = values.get("value", "")

    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler, parser.EndElementHandler = begin, lambda _: place.pop()
    with path.open("rb") as file:
        parser.ParseFile(file)
    found = _texts({key.removeprefix("framework/"): value for key, value in told.items()})
    words = told.get("model_info/labels")
    return found if words is None else found | {"model_info/labels": dict(enumerate(words.split(" ") if words else []))}


READERS: dict[ExportFormat, tuple[str, Callable[[Path], Claims]]] = {
    ExportFormat.ONNX: ("model.onnx", _protobuf(14)),
    ExportFormat.COREML: ("model.mlpackage/Data/com.apple.CoreML/model.mlmodel", _protobuf(2, 100, 100)),
    ExportFormat.TFLITE: ("model.tflite", _tflite),
    ExportFormat.TORCHSCRIPT: ("model.torchscript", _torchscript),
    ExportFormat.OPENVINO: ("model.xml", _openvino),
}
"""The file of a package that tells them, and what reads it. Numbers of fields: ModelProto.metadata_props of ONNX, and Core ML's
Model.description.metadata.userDefined."""
