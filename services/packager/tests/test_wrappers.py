"""The files below runtimes/ and what they need."""

import ast
import sys
from enum import Enum
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import numpy as np
import pytest

import processing
from contracts.export_options import CoreMlOptions
from contracts.vocabulary import ExportFormat, Kernel
from contracts.wrappers import LANGUAGES
from packager import environments, wrappers
from packager.runtimes.python import model_backends

ROOT = Path(__file__).parents[3]


def test_processing_is_shipped_verbatim():
    shipped = wrappers.sources(ExportFormat.OPENVINO)
    source = Path(processing.__file__).parent
    expected = {f"runtimes/python/processing/{p.relative_to(source)}": p.read_bytes() for p in source.rglob("*.py")}
    assert expected
    assert {k: v for k, v in shipped.items() if "/processing/" in k and k.endswith(".py")} == expected


def test_shipped_code_imports_only_what_the_requirements_name():
    allowed = {"numpy", "cv2", "PIL", "onnxruntime", "torch", "processing", "model_wrapper", "model_backends"}
    shipped = {name: data for name, data in wrappers.sources(ExportFormat.OPENVINO).items() if name.endswith(".py")}
    assert len(shipped) > 20
    for name, data in shipped.items():
        for node in ast.walk(ast.parse(data)):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                top = module.partition(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, (name, module)


@pytest.mark.parametrize("export_format", list(ExportFormat))
def test_a_package_holds_the_languages_that_run_its_format(export_format):
    shipped = wrappers.sources(export_format)
    assert {name.split("/")[1] for name in shipped} == set(LANGUAGES[export_format])
    assert not [name for name in shipped if "__pycache__" in name or "/." in name]
    begins = wrappers.entry_points(shipped)
    assert list(begins) == [language for language in wrappers.BEGINS if language in LANGUAGES[export_format]]
    assert set(begins.values()) <= set(shipped)


def test_a_language_that_is_not_there_has_no_file():
    assert wrappers.entry_points({"runtimes/cpp/old/model_wrapper.h", "runtimes/cpp/model_wrapper.h", "README.md"}) == {
        "cpp": "runtimes/cpp/model_wrapper.h"
    }


def test_pins_are_those_of_the_project():
    lists = [ROOT / "deploy/requirements/litert.txt", ROOT / "constraints.txt"]
    pinned = dict(line.split("==") for path in lists for line in path.read_text().split() if "==" in line)
    assert {name: pinned[name] for name in environments.PINS} == environments.PINS


@pytest.mark.parametrize(
    ("export_format", "kernel", "expected"),
    [
        (ExportFormat.ONNX, Kernel.CV2_LINEAR_U8, {"numpy", "opencv-python-headless", "onnxruntime"}),
        (ExportFormat.ONNX, Kernel.PIL_BICUBIC, {"numpy", "pillow", "onnxruntime"}),
        (ExportFormat.TORCHSCRIPT, Kernel.PIL_BILINEAR, {"numpy", "pillow", "torch"}),
        (ExportFormat.OPENVINO, Kernel.PIL_BILINEAR, {"numpy", "pillow", "openvino"}),
        (ExportFormat.TFLITE, Kernel.PIL_BILINEAR, {"numpy", "pillow", "ai-edge-litert"}),
        (ExportFormat.COREML, Kernel.PIL_BILINEAR, {"numpy", "pillow", "coremltools"}),
        (ExportFormat.COREML, Kernel.CV2_LINEAR_U8, {"numpy", "opencv-python-headless", "pillow", "coremltools"}),
    ],
)
def test_requirements_are_what_this_model_needs(artefact, export_format, kernel, expected):
    replace = msgspec.structs.replace
    metadata = artefact.metadata
    info = replace(metadata.model_info, export_format=export_format)
    pre = replace(metadata.preprocessing, resize=replace(metadata.preprocessing.resize, kernel=kernel))
    text = wrappers.requirements(replace(metadata, model_info=info, preprocessing=pre))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {line.split("==")[0] for line in lines} == expected
    assert all(environments.PINS[line.split("==")[0]] in line for line in lines)
    clean = {one.export_format: one.requirements() for one in environments.ENVIRONMENTS}
    if export_format in clean:
        assert {line.split()[0] for line in lines} <= set(clean[export_format]), "it is proven with other releases"


@pytest.mark.parametrize(
    ("flavor", "toolchain", "expected"),
    [
        ("tensorrt", {"tensorrt": "11.4.0.106"}, "tensorrt==11.4.0.106"),
        ("rtx", {"tensorrt_rtx": "1.7.0.9"}, "tensorrt-rtx==1.7.0.9"),
        ("rtx", {}, f"tensorrt-rtx=={environments.PINS['tensorrt-rtx']}"),
    ],
)
def test_an_engine_needs_the_release_and_the_flavour_that_built_it(artefact, flavor, toolchain, expected):
    replace = msgspec.structs.replace
    info = replace(artefact.metadata.model_info, export_format=ExportFormat.TENSORRT)
    made = replace(artefact.metadata.provenance, export_options={"flavor": flavor}, toolchain=toolchain)
    lines = wrappers.requirements(replace(artefact.metadata, model_info=info, provenance=made)).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("tensorrt")] == [expected]
    assert any(line.startswith("cuda-bindings==") for line in lines)


def test_every_format_has_a_runtime_and_a_backend():
    source = wrappers.sources(ExportFormat.OPENVINO)["runtimes/python/model_backends.py"].decode()
    table = source[source.index("BACKENDS: Mapping") :]
    for export_format in ExportFormat:
        assert environments.RUNTIMES[export_format]
        assert f'"{export_format}": ' in table


class CoreMlTools:
    """Stands for coremltools on macOS: it knows the names of the processors, and what it was asked."""

    ComputeUnit = Enum("ComputeUnit", ["ALL", "CPU_AND_GPU", "CPU_ONLY", "CPU_AND_NE"])

    def __init__(self) -> None:
        self.models, self.asked = self, []

    def MLModel(self, path, compute_units):
        self.asked.append(compute_units.name)
        return self

    def predict(self, inputs):
        self.asked.append(inputs["images"])
        return {"scores": np.zeros((1, 2), np.float32)}


@pytest.mark.parametrize("units", get_args(get_type_hints(CoreMlOptions)["compute_units"]))
def test_core_ml_runs_on_the_processors_that_the_export_asked_for(monkeypatch, tmp_path, units):
    tools = CoreMlTools()
    monkeypatch.setitem(sys.modules, "coremltools", tools)
    monkeypatch.setattr(model_backends.platform, "system", lambda: "Darwin")
    facts = model_backends.Facts("images", ("scores",), {"compute_units": units})
    run = model_backends.core_ml(tmp_path, facts)
    pixels, planes = np.full((1, 4, 6, 3), 7, np.uint8), np.zeros((1, 3, 4, 6), np.float32)
    assert run(pixels)["scores"].shape == run(planes)["scores"].shape == (1, 2)
    name, picture, tensor = tools.asked
    assert name == units.upper()
    assert (picture.size, picture.mode) == ((6, 4), "RGB")
    assert tensor is planes
