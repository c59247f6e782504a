"""OpenVINO exports: whole runs, their options, their metadata, the same bytes each time, and a gate and a guard that bite."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from onnx import numpy_helper

from contracts.errors import Permanent
from contracts.export_options import parse_export_options
from contracts.optimization import OptimizationConfig
from contracts.precision import precision
from contracts.vocabulary import ExportFormat, Precision, Proof
from export_worker.formats import onnx2openvino
from export_worker.parity.verify import verify
from export_worker.runtimes.openvino import OpenVinoRuntime, read
from export_worker.sandbox import openvino_guard

from .exporting import Case, Exported, export, job_folder, until


@pytest.fixture(scope="module")
def detector(sample) -> Case:
    return Case.of(sample("shapes-detector"))


@pytest.fixture(scope="module")
def exported(detector: Case, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("openvino"), detector, "openvino")


def test_a_detector_is_verified_on_openvino_by_way_of_onnx(exported: Exported):
    metadata = exported.metadata
    assert metadata.parity.proof is Proof.VERIFIED
    assert metadata.provenance.route == ("torch", "onnx", "openvino")
    assert metadata.performance is not None
    assert metadata.performance.runtime.startswith("openvino")
    assert metadata.model_file == "model.xml"
    assert metadata.input_spec.shape[0] == -1


def test_the_model_says_what_it_is(exported: Exported):
    model = read(exported.model)
    assert model.get_rt_info(["framework", "modelport.task"]).astype(str) == "object_detection"
    assert "circle" in model.get_rt_info(["framework", "modelport.names"]).astype(str)


def test_the_same_request_gives_the_same_bytes_in_another_process(exported: Exported, detector: Case, tmp_path: Path):
    job_folder(tmp_path, detector, "openvino")
    subprocess.run([sys.executable, "-m", "export_worker.child"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "output" / exported.model.name).read_bytes() == exported.model.read_bytes()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"precision": "FP16"}, Precision.FP16),
        ({"model_optimizer_args": {"data_type": "FP16"}}, Precision.FP16),
        ({"precision": "INT8"}, Precision.INT8_WEIGHTS),
    ],
)
def test_lower_precision_makes_it_smaller_and_is_told(
    options: dict[str, object], wanted: Precision, exported: Exported, sample, tmp_path: Path
):
    made = export(tmp_path, Case.of(sample("digits-timm")), "openvino", options)
    assert made.metadata.precision is wanted
    weights = zipfile.ZipFile(made.model).getinfo("model.bin").file_size
    parameters = made.metadata.sizes.original_size_bytes
    assert weights < parameters * {Precision.FP16: 0.55, Precision.INT8_WEIGHTS: 0.35}[wanted]


def test_contradicting_precisions_are_refused_by_name():
    options = parse_export_options(
        ExportFormat.OPENVINO, {"precision": "INT8", "model_optimizer_args": {"data_type": "FP16"}}
    )
    with pytest.raises(Permanent, match=r"model_optimizer_args\.data_type"):
        precision(options, OptimizationConfig())


def test_reversed_channels_take_bgr_and_predict_the_same(detector: Case, exported: Exported, tmp_path: Path):
    made = export(tmp_path, detector, "openvino", {"model_optimizer_args": {"reverse_input_channels": True}})
    assert made.metadata.preprocessing.format.color_space == "BGR"
    pixels = np.random.default_rng(0).integers(0, 256, (1, *made.metadata.input_spec.shape[1:]), np.uint8)
    plain, reverse = OpenVinoRuntime(exported.model), OpenVinoRuntime(made.model)
    np.testing.assert_allclose(reverse(pixels[..., ::-1].copy())[0], plain(pixels)[0], rtol=1e-4, atol=1e-3)


def test_suppression_travels_inside(detector: Case, tmp_path: Path):
    made = export(tmp_path, detector, "openvino", {"embed_nms": True})
    assert made.metadata.postprocessing.nms.embedded
    assert "0.001" in next(iter(made.metadata.output_spec.values())).description


def test_a_perturbed_weight_is_found_by_its_layer(detector: Case, tmp_path: Path):
    work = until("convert", tmp_path, detector, "openvino")
    source = work.folder / "tmp" / "model.onnx"
    model = onnx.load(str(source))
    weight = next(one for one in model.graph.initializer if one.name == "model.model.4.cv1.conv.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0] *= 1.5
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, str(source))
    spoilt = openvino.Core().read_model(str(source))
    folder = tmp_path / "spoilt"
    folder.mkdir()
    openvino.save_model(spoilt, str(folder / "model.xml"), compress_to_fp16=False)
    onnx2openvino.bundle(work.need_artefact().path, {name: folder / name for name in ("model.xml", "model.bin")})

    with pytest.raises(Permanent) as failed:
        verify(work)
    assert failed.value.operator == "model.model.4.cv1.conv"


CONSTANT = b'<net><layers><layer type="Const" version="opset1"><data offset="8" size="%s"/></layer></layers></net>'


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"model.xml": b"<net/>"}, "holds model.xml|'model.xml'"),
        ({"model.xml": b"<net/>", "model.bin": b"", "../x": b""}, "holds"),
        ({"model.xml": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><net/>', "model.bin": b""}, "entities"),
        ({"model.xml": b'<net><layers><layer id="0" version="mine"/></layers></net>', "model.bin": b""}, "mine"),
        ({"model.xml": b"<net><layers><layer\n version='mine'/></layers></net>", "model.bin": b""}, "mine"),
        ({"model.xml": b"no model", "model.bin": b""}, "no OpenVINO model"),
        ({"model.xml": b"<net><layers></net>", "model.bin": b""}, "no XML"),
        ({"model.xml": CONSTANT % b"8", "model.bin": bytes(15)}, "weights up to byte 16 of 15"),
        ({"model.xml": CONSTANT % b"-8", "model.bin": bytes(15)}, "without a place"),
        ({"model.xml": CONSTANT % b"18446744073709551615", "model.bin": bytes(15)}, "without a place"),
        ({"model.xml": b"<net>" + bytes(openvino_guard.MAX_XML_BYTES), "model.bin": b""}, "claims"),
        ({str(number): b"" for number in range(2000)}, "far more files"),
    ],
)
def test_a_strange_zip_is_refused(members: dict[str, bytes], reason: str, tmp_path: Path):
    path = tmp_path / "model.openvino.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
    with pytest.raises(Permanent, match=reason):
        openvino_guard.check(path)


def test_a_member_that_cannot_be_inflated_is_refused(tmp_path: Path):
    path = tmp_path / "model.openvino.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.xml", b"<net/>" * 50)
        archive.writestr("model.bin", b"")
    data = bytearray(path.read_bytes())
    data[39] ^= 0xFF  # the first byte behind the entry's header and name
    path.write_bytes(data)
    with pytest.raises(Permanent, match="no sound zip"):
        openvino_guard.check(path)


def test_what_is_no_zip_is_refused(tmp_path: Path):
    path = tmp_path / "model.openvino.zip"
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(Permanent, match="no sound zip"):
        openvino_guard.check(path)


def test_a_sound_export_passes_the_guard(exported: Exported):
    openvino_guard.check(exported.model)


def test_what_a_process_has_converted_before_changes_no_byte(
    exported: Exported, detector: Case, tmp_path: Path, sample
):
    until("convert", tmp_path / "other", Case.of(sample("shapes-segformer")), "openvino")
    again = until("convert", tmp_path / "again", detector, "openvino").need_artefact()
    assert again.path.read_bytes() == exported.model.read_bytes()
