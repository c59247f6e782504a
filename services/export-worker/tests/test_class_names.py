"""Class names inside artefacts: what each format's own reader reads is what metadata.json says, for hostile names too."""

import ast
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import onnx
import openvino
import pytest
import timm
import torch
from msgspec import structs

from contracts import labels
from contracts.errors import Permanent
from contracts.keys import PACKAGED_MODELS
from contracts.vocabulary import Framework
from export_worker.loaded import Artefact
from export_worker.sandbox.outputs import CHECKS
from packager import artefact_names, models

from . import yolo
from .exporting import ARCHITECTURE, Case, case, export, randomise, until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
NAMES = ("traffic light", "'; import os #", "q\"u\\o'te {0: 1}", "", "日本語 ünï 🚀", "</rt_info><a b='&amp;'>")
TRACED = ("onnx", "openvino", "torchscript")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Case:
    path = tmp_path_factory.mktemp("timm") / "classifier.pth"
    torch.save(randomise(timm.create_model(ARCHITECTURE, num_classes=len(NAMES))).state_dict(), path)
    return case(path, Framework.TIMM, config={"input_size": [3, 32, 32]}, classes=NAMES)


@pytest.fixture(scope="module", params=[*TRACED, "coreml"])
def made(request: pytest.FixtureRequest, classifier: Case, tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return until("convert", tmp_path_factory.mktemp(request.param), classifier, request.param).need_artefact()


def members(got: Artefact) -> dict[str, Path]:
    """The model's files as they lie in a package."""
    if got.export_format in models.ZIPPED:
        return models.unpack(got.export_format, got.path, got.path.parent / "unpacked", 1 << 30)
    return {PACKAGED_MODELS[got.export_format]: got.path}


def from_onnx(got: Artefact) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(got.path).metadata_props}


def from_openvino(got: Artefact) -> dict[str, str]:
    model = openvino.Core().read_model(members(got)["model.xml"])
    assert model.get_rt_info(["model_info", "labels"]).astype(str).split() == labels.words(dict(enumerate(NAMES)))
    told = ("names", "modelport.names")
    return {key: model.get_rt_info(["framework", key]).astype(str) for key in told}


def from_torchscript(got: Artefact) -> dict[str, str]:
    told = {"modelport.json": "", "config.txt": ""}
    torch.jit.load(str(got.path), _extra_files=told)
    return {**json.loads(told["modelport.json"]), "names": str(json.loads(told["config.txt"])["names"])}


def from_coreml(got: Artefact) -> dict[str, str]:
    from export_worker.runtimes.coreml.toolchain import ct

    package = members(got)["model.mlpackage/Manifest.json"].parent
    return dict(ct.models.utils.load_spec(str(package)).description.metadata.userDefined)


READERS = {"onnx": from_onnx, "openvino": from_openvino, "torchscript": from_torchscript, "coreml": from_coreml}


def test_the_format_s_own_reader_reads_the_names(made: Artefact):
    told = READERS[made.export_format](made)
    for names in (json.loads(told["modelport.names"]), ast.literal_eval(told["names"])):
        assert {int(number): name for number, name in names.items()} == dict(enumerate(NAMES))
    assert "task" not in told  # which would tell Ultralytics to run it


def test_the_guard_lets_the_names_pass_and_the_packager_reads_them(made: Artefact):
    if check := CHECKS.get(made.export_format):
        check(made.path)
    claims = artefact_names.claims(made.export_format, members(made))
    assert len(claims) >= 2
    words = claims.pop("model_info/labels", None)
    assert words is None or list(words.values()) == labels.words(dict(enumerate(NAMES)))
    assert all(told == dict(enumerate(NAMES)) for told in claims.values())


def test_swapped_names_are_told_by_class(classifier: Case, tmp_path: Path):
    got = export(tmp_path, classifier, "onnx")
    artefact_names.check(got.metadata, {"model.onnx": got.model})
    first, second, *rest = got.metadata.classes
    swapped = structs.replace(first, name=second.name), structs.replace(second, name=first.name), *rest
    with pytest.raises(Permanent, match=r"class 0 is .*import os.* in metadata\.json and 'traffic light'") as error:
        artefact_names.check(structs.replace(got.metadata, classes=swapped), {"model.onnx": got.model})
    assert error.value.code == "packaging_failed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("yolo")
    (made / "source").mkdir()
    return made


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_ultralytics_reads_its_own_model_back(target: str, folder: Path):
    from ultralytics.nn.backends.base import BaseBackend

    pose = yolo.checkpoint(folder / "source", "yolo11n-pose")
    work = until("convert", folder / target, pose, target, {"embed_preprocessing": False})
    told = BaseBackend.read_metadata(work.need_artefact().path)
    backend = SimpleNamespace(dynamic=False)
    BaseBackend.apply_metadata(backend, told)
    assert (backend.task, backend.stride, backend.imgsz) == ("pose", 32, [yolo.SIDE, yolo.SIDE])
    assert (backend.kpt_shape, backend.end2end) == ([5, 3], False)
    assert {int(number): name for number, name in backend.names.items()} == dict(enumerate(work.need_loaded().classes))


def test_a_model_that_takes_pixels_does_not_ask_ultralytics_to_run_it(folder: Path):
    detector = yolo.checkpoint(folder / "source", "yolo11n")
    work = until("convert", folder / "pixels", detector, "torchscript")
    with zipfile.ZipFile(work.need_artefact().path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("config.txt"))
        assert set(json.loads(archive.read(name))) == {"names"}
