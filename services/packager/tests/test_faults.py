"""The gate bites: each fault that is put into what reaches the packager is caught before delivery, and called by its name."""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import onnx
import pytest
from msgspec import structs
from onnx import numpy_helper

from contracts import keys
from contracts import vocabulary as v
from contracts.errors import Permanent
from contracts.vocabulary import WrapperLanguage, WrapperProof
from packager import export_package, wrappers
from packager.environments import FOLDER, installed
from packager.proofs import Gate
from packager.proofs.verifiers import of_python
from servicekit.sandbox import watch
from servicekit.sandbox.bubblewrap import MIB, NOTHING, Limits, detect

from .conftest import Artefact, write_goldens

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[3]
LIMITS = Limits(memory_bytes=2048 * MIB, log_bytes=4 * MIB, disk_bytes=256 * MIB, wall_s=100.0)
NAMES = ("circle", "square", "star")
Package = Callable[[Artefact], Awaitable[export_package.Package]]
Make = Callable[..., Artefact]


@pytest.fixture(scope="module")
def gate() -> Gate:
    """With the environments that the set-up has made, in the sandbox of this machine."""
    assert set(installed(ROOT / FOLDER)), "no environment below .venv-runtimes: make setup"
    box, state = detect(NOTHING)
    assert box is not None, state.description
    return Gate(box, of_python(ROOT / FOLDER), {}, limits=LIMITS)


@pytest.fixture
def packaged(gate: Gate, tmp_path: Path) -> Package:
    """What the packager makes of an artefact, through the gate."""

    async def made(artefact: Artefact) -> export_package.Package:
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        return await export_package.assemble(artefact.metadata, artefact.sources(), folder, gate=gate)

    return made


async def refused(packaged: Package, artefact: Artefact) -> str:
    with pytest.raises(Permanent) as caught:
        await packaged(artefact)
    assert caught.value.code == "wrapper_disagrees", caught.value
    return caught.value.message


def changed(artefact: Artefact, *path: str, **values: Any) -> Artefact:
    """The artefact with other values in one section of its metadata."""

    def at(section: Any, names: tuple[str, ...]) -> Any:
        if not names:
            return structs.replace(section, **values)
        return structs.replace(section, **{names[0]: at(getattr(section, names[0]), names[1:])})

    return Artefact(at(artefact.metadata, path), artefact.files)


def stretched(artefact: Artefact) -> Artefact:
    return changed(artefact, "preprocessing", "resize", method=v.ResizeMethod.STRETCH)


def bgr(artefact: Artefact) -> Artefact:
    return changed(artefact, "preprocessing", "format", color_space="BGR")


def wrong_std(artefact: Artefact) -> Artefact:
    return changed(artefact, "preprocessing", "normalize", std=(0.25, 0.25, 0.5))


def other_mean_and_std(artefact: Artefact) -> Artefact:
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return changed(artefact, "preprocessing", "normalize", **imagenet)


def dropped_nms(artefact: Artefact) -> Artefact:
    return changed(artefact, "postprocessing", "nms", enabled=False)


def agnostic_nms(artefact: Artefact) -> Artefact:
    return changed(artefact, "postprocessing", "nms", class_agnostic=True)


def swapped_names(artefact: Artefact) -> Artefact:
    first, second, *rest = artefact.metadata.classes
    swap = (structs.replace(first, name=second.name), structs.replace(second, name=first.name))
    return Artefact(structs.replace(artefact.metadata, classes=(*swap, *rest)), artefact.files)


def other_kernel(artefact: Artefact) -> Artefact:
    return changed(artefact, "preprocessing", "resize", kernel=v.Kernel.PIL_BILINEAR)


def nan_weights(artefact: Artefact) -> Artefact:
    model = onnx.load(artefact.files["model.onnx"])
    for tensor in model.graph.initializer:
        if tensor.name == "boxes":
            tensor.CopyFrom(numpy_helper.from_array(np.full(tuple(tensor.dims), np.nan, np.float32), "boxes"))
    onnx.save(model, artefact.files["model.onnx"])
    return artefact


def other_weights(artefact: Artefact) -> Artefact:
    model = onnx.load(artefact.files["model.onnx"])
    for tensor in model.graph.initializer:
        if tensor.name == "weights":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.9), "weights"))
    onnx.save(model, artefact.files["model.onnx"])
    return artefact


def unreadable_model(artefact: Artefact) -> Artefact:
    path = artefact.files["model.onnx"]
    path.write_bytes(path.read_bytes().replace(b"ReduceMean", b"ReduceNone"))
    return artefact


def crowded(artefact: Artefact) -> Artefact:
    """Its model finds overlapping boxes, of one class and of two, in every picture."""
    path = artefact.files["model.onnx"]
    model = onnx.load(path)
    values = {
        "boxes": np.array([[[24, 25, 24, 40], [16, 16, 16, 10], [20, 20, 20, 8], [12, 12, 12, 8]]], np.float32),
        "weights": np.array([[[1.0, 0.9, 0.5, 0.8], [0.5, 0.5, 0.95, 0.5], [0.1, 0.1, 0.1, 0.1]]], np.float32),
    }
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 4
    onnx.save(model, path)
    write_goldens(artefact.files[keys.GOLDENS], artefact.metadata, path)
    return artefact


class Injected(NamedTuple):
    """A fault in what the worker hands over, and the words that call it by its name."""

    deed: Callable[[Artefact], Artefact]
    words: str


IN_ARTEFACTS = {
    "stretch instead of letterbox": Injected(stretched, "stretch instead of letterbox"),
    "BGR for RGB": Injected(bgr, "BGR instead of RGB"),
    "wrong std": Injected(wrong_std, "std [0.25, 0.25, 0.5] and mean [0.0, 0.0, 0.0] instead of bytes / 255"),
    "another mean and std": Injected(other_mean_and_std, "ImageNet's mean and std instead of bytes / 255"),
    "another kernel": Injected(other_kernel, "pil_bilinear instead of cv2_linear_u8"),
    "dropped NMS": Injected(dropped_nms, "NMS dropped instead of NMS per class"),
    "NMS over all classes": Injected(agnostic_nms, "NMS over all classes instead of NMS per class"),
    "swapped class names": Injected(swapped_names, "swapped class names"),
    "NaN weights": Injected(nan_weights, "NaN weights"),
    "other weights": Injected(other_weights, "other weights"),
    "unreadable model": Injected(unreadable_model, "truncated or unreadable model"),
}


async def test_a_sound_package_is_verified_and_holds_the_files_that_were(make: Make, packaged: Package) -> None:
    package = await packaged(make(names=NAMES))
    status = package.metadata.wrapper_proofs[WrapperLanguage.PYTHON]
    assert status.proof is WrapperProof.VERIFIED
    assert "checks passed" in status.detail
    written = json.loads(package.members[keys.METADATA].read_bytes())
    assert written["wrapper_proofs"]["python"] == {"proof": "verified", "detail": status.detail}
    assert "**verified**" in package.members["README.md"].read_text()


@pytest.mark.parametrize("fault", IN_ARTEFACTS)
async def test_a_fault_of_the_artefact_is_caught_by_its_name(make: Make, packaged: Package, fault: str) -> None:
    injected = IN_ARTEFACTS[fault]
    message = await refused(packaged, injected.deed(crowded(make(names=NAMES))))
    assert f"Probable cause: {injected.words}" in message


async def test_a_truncated_model_is_refused_before_anything_runs_it(make: Make, packaged: Package) -> None:
    artefact = make(names=NAMES)
    path = artefact.files["model.onnx"]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Permanent, match="is cut off"):
        await packaged(artefact)


IN_WRAPPERS = {
    "stretch instead of letterbox": ("geometry.py", '"letterbox": letterbox,', '"letterbox": stretch,', "stretch instead of letterbox"),
    "BGR for RGB": ("pipeline.py", 'self.format.color_space == "BGR"', 'self.format.color_space != "BGR"', "BGR instead of RGB"),
    "wrong std": ("pipeline.py", "(scaled[None, :] - mean) / std", "(scaled[None, :] - mean) / std / np.float32(2)", "wrong std"),
    "off by half a pixel": (
        "kernels.py",
        "cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)",
        "cv2.warpAffine(image, np.array([[image.shape[1] / size[1], 0, 0], [0, image.shape[0] / size[0], 0]]), (size[1], size[0]), "
        "flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)",
        "off by half a pixel",
    ),
    "boxes half a pixel beside": ("geometry.py", "np.clip((boxes - offset) / gain", "np.clip((boxes - offset + np.float32(0.5)) / gain", "off by half a pixel"),
    "dropped NMS": ("objects.py", "if iou is None:", "if True:", "NMS dropped instead of NMS per class"),
}  # fmt: skip
"""File of the shipped processing, what stands there, what is put there, and the name of the mistake."""


@pytest.mark.parametrize("fault", IN_WRAPPERS)
async def test_a_fault_of_the_wrapper_is_caught_by_its_name(
    make: Make, packaged: Package, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    name, before, after, words = IN_WRAPPERS[fault]
    path, sources = f"{wrappers.PYTHON}/processing/{name}", wrappers.sources

    def broken(export_format: v.ExportFormat) -> dict[str, bytes]:
        shipped = sources(export_format)
        assert before.encode() in shipped[path]
        return shipped | {path: shipped[path].replace(before.encode(), after.encode())}

    monkeypatch.setattr(wrappers, "sources", broken)
    assert f"Probable cause: {words}" in await refused(packaged, crowded(make(names=NAMES)))


async def test_what_nothing_explains_is_called_unknown(
    make: Make, packaged: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sources = f"{wrappers.PYTHON}/processing/pipeline.py", wrappers.sources
    before, after = b"np.empty((3, *fitted.shape[:2]), np.float32)", b"np.zeros((3, *fitted.shape[:2]), np.float32)"

    def broken(export_format: v.ExportFormat) -> dict[str, bytes]:
        text = sources(export_format)[path].replace(before, after)
        odd = text.replace(b"return out[None] if planar", b"out[:, 0, 0] = 9\n        return out[None] if planar")
        assert odd != text
        return sources(export_format) | {path: odd}

    monkeypatch.setattr(wrappers, "sources", broken)
    assert "Probable cause: unknown" in await refused(packaged, make(names=NAMES))


async def test_nothing_is_left_of_what_ran(make: Make, packaged: Package) -> None:
    before = set(watch.tree(os.getpid()))
    await packaged(make(names=NAMES))
    assert not {pid for pid in set(watch.tree(os.getpid())) - before if watch.is_alive(pid)}
