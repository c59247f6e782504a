"""What kind of file a checkpoint is, told without running any of it, and the checks that every framework shares."""

import json
import pickletools
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from contracts.model_package import PRINTABLE

Kind = Literal["ultralytics", "state_dict", "safetensors", "torchscript", "huggingface", "onnx", "module", "unreadable"]

ORIGINS: dict[Kind, str] = {
    "ultralytics": "an Ultralytics checkpoint",
    "state_dict": "a plain state dict, as timm and torch write it",
    "safetensors": "a safetensors file of plain weights",
    "torchscript": "a TorchScript archive, which is exported already",
    "huggingface": "a Hugging Face model folder",
    "onnx": "an ONNX model, which is exported already",
    "module": "a pickled torch module",
    "unreadable": "truncated, damaged or no checkpoint at all",
}
MAX_PICKLE_BYTES = 64 << 20
MAX_HEADER_BYTES = 100 << 20
MAX_NAME = 256


def sniff(path: Path) -> Kind:
    """The kind of the file, from its magic bytes, its archive members and the names its pickle refers to."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":  # before the zip: the length of a safetensors header may read as PK, no zip has a brace there
        return _sniff_safetensors(path, int.from_bytes(head[:8], "little"))
    if head[:2] == b"PK":
        return _sniff_zip(path)
    if head[:1] == b"\x80":
        return _sniff_pickle(path.read_bytes()[:MAX_PICKLE_BYTES])
    if head[:1] == b"\x08" and b"\x12" in head[:4]:
        return "onnx"
    return "unreadable"


def _sniff_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("constants.pkl") for name in names):
                return "torchscript"
            pickled = [name for name in names if name.endswith("/data.pkl")]
            if pickled:
                with archive.open(pickled[0]) as file:
                    return _sniff_pickle(file.read(MAX_PICKLE_BYTES))
            if any(Path(name).name == "config.json" for name in names):
                return "huggingface"
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return "unreadable"
    return "unreadable"


def _sniff_safetensors(path: Path, header_bytes: int) -> Kind:
    if header_bytes > min(MAX_HEADER_BYTES, path.stat().st_size):
        return "unreadable"
    with path.open("rb") as file:
        file.seek(8)
        try:
            header = json.loads(file.read(header_bytes))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return "unreadable"
    return "safetensors" if 8 + header_bytes + max(ends, default=0) == path.stat().st_size else "unreadable"


def _sniff_pickle(data: bytes) -> Kind:
    """By the modules that the pickle names; its opcodes are read, never run."""
    modules: set[str] = set()
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                modules.add(str(argument).split(" ")[0])
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                modules.add(strings[-2])
            elif "UNICODE" in opcode.name:
                strings.append(str(argument))
    except (ValueError, IndexError, UnicodeDecodeError):
        if not modules:
            return "unreadable"
    if any(module.split(".")[0] == "ultralytics" for module in modules):
        return "ultralytics"
    known = {"torch", "collections", "numpy", "argparse", "pathlib", "builtins", "__builtin__", "_codecs", "copyreg"}
    plain = all(module.split(".")[0] in known and not module.startswith("torch.nn.modules") for module in modules)
    return "state_dict" if plain else "module"


def class_names(own: Sequence[str], given: Sequence[str] | None) -> tuple[str, ...]:
    """The model's own class names, or those of the request.

    Raises Permanent("classes_mismatch") if the count differs, or where a name cannot be shown.
    """
    if given is not None and len(given) != len(own):
        raise Permanent("classes_mismatch", f"the model has {len(own)} classes, the request names {len(given)}.")
    names = tuple(own if given is None else given)
    for number, name in enumerate(names):
        if len(name) > MAX_NAME or not re.match(PRINTABLE, name):
            raise Permanent(
                "classes_mismatch",
                f"the name of class {number} has control characters or more than {MAX_NAME} characters.",
                hint="Name the classes when you register the training.",
            )
    return names


def image_size(request: ExportRequestedV1, trained: Sequence[int], stride: int = 1) -> tuple[int, int]:
    """(height, width) of the model's input: of the request, of the training's config, or of the checkpoint.

    Raises Permanent("unsupported") where a side is not a multiple of `stride`.
    """
    configured = request.source_config.get("image_size")
    if isinstance(configured, int):
        configured = [configured, configured]
    size = request.options.image_size or configured or trained
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise Permanent("unsupported", f"image_size must be [height, width], not {size!r}.")
    height, width = int(size[0]), int(size[1])
    if height % stride or width % stride:
        near = [max(stride, round(side / stride) * stride) for side in (height, width)]
        raise Permanent(
            "unsupported",
            f"export_config.image_size: {[height, width]} is not a multiple of the model's stride {stride}.",
            hint=f"What works: {near}.",
        )
    return height, width


def error_line(error: BaseException) -> str:
    """The first line of an error's text without its full stop, or its type where it has none."""
    lines = (line.strip().rstrip(".:") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:400]
