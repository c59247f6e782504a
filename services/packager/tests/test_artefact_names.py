"""Readers of class names: hostile bytes are refused, contradictions are named."""

import zipfile
from contextlib import suppress

import msgspec
import onnx
import pytest

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat
from packager import artefact_names, protobuf

SMALL = 200


def with_props(artefact, path, **told):
    model = onnx.load(artefact.files["model.onnx"])
    onnx.helper.set_model_props(model, told)
    onnx.save(model, path)
    return {"model.onnx": path}


def test_a_model_that_tells_no_names_contradicts_none(artefact):
    artefact_names.check(artefact.metadata, {"model.onnx": artefact.files["model.onnx"]})
    artefact_names.check(
        msgspec.structs.replace(
            artefact.metadata,
            model_info=msgspec.structs.replace(artefact.metadata.model_info, export_format=ExportFormat.TENSORRT),
        ),
        {},
    )


@pytest.mark.parametrize("place", ["names", "modelport.names"])
def test_either_list_is_held_against_the_metadata(artefact, tmp_path, place):
    right = {each.id: each.name for each in artefact.metadata.classes}
    wrong = {**right, 1: right[2], 2: right[1]}

    def written(names):
        return repr(names) if place == "names" else msgspec.json.encode(names).decode()

    artefact_names.check(artefact.metadata, with_props(artefact, tmp_path / "right.onnx", **{place: written(right)}))
    with pytest.raises(Permanent, match=f"class 1 is .* in the model's {place}$"):
        artefact_names.check(
            artefact.metadata, with_props(artefact, tmp_path / "wrong.onnx", **{place: written(wrong)})
        )
    del wrong[2]
    with pytest.raises(Permanent, match="class 1 is"):
        artefact_names.check(
            artefact.metadata, with_props(artefact, tmp_path / "short.onnx", **{place: written(wrong)})
        )


@pytest.mark.parametrize(
    "told",
    [
        "[1, 2]",
        "{0: ",
        "__import__('os').system('true')",
        "{'x': 1}",
        "(" * 5000,
        "{0: 1" + "-1" * 200_000,
        "{0: 'a' 1: 'b'}",
        "{0: '\\xzz'}",
        "",
    ],
)
def test_words_that_are_no_names_are_refused_and_not_run(artefact, tmp_path, told):
    with pytest.raises(Permanent, match=r"class names in model\.onnx"):
        artefact_names.check(artefact.metadata, with_props(artefact, tmp_path / "model.onnx", names=told))


def test_every_prefix_of_a_file_is_read_or_refused(artefact, tmp_path):
    whole = with_props(artefact, tmp_path / "model.onnx", names="{0: 'a'}")["model.onnx"].read_bytes()
    path = tmp_path / "part.onnx"
    for end in range(1, len(whole)):
        path.write_bytes(whole[:end])
        with suppress(Permanent):
            artefact_names.claims(ExportFormat.ONNX, {"model.onnx": path})


def test_a_file_that_names_no_end_of_fields_is_refused(monkeypatch):
    monkeypatch.setattr(protobuf, "MAX_FIELDS", SMALL)
    assert len(list(protobuf.fields(memoryview(b"\x0a\x00" * (SMALL - 1))))) == SMALL - 1
    with pytest.raises(protobuf.ProtobufError, match="fields"):
        list(protobuf.fields(memoryview(b"\x0a\x00" * (SMALL + 1))))


@pytest.mark.parametrize("export_format", [ExportFormat.TFLITE, ExportFormat.TORCHSCRIPT, ExportFormat.OPENVINO])
def test_what_is_no_such_file_is_refused(tmp_path, export_format):
    path = tmp_path / "model"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(Permanent, match="cannot be read"):
        artefact_names.claims(export_format, {artefact_names.READERS[export_format][0]: path})


def test_a_member_that_claims_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(artefact_names, "MAX_BYTES", 1000)
    path = tmp_path / "model.torchscript"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/extra/config.txt", b" " * 10_000)
    with pytest.raises(Permanent, match="too large"):
        artefact_names.claims(ExportFormat.TORCHSCRIPT, {"model.torchscript": path})


def _encrypted(data: bytearray) -> None:
    data[6] |= 1
    data[data.find(b"PK\1\2") + 8] |= 1


def _compressed_in_an_unknown_way(data: bytearray) -> None:
    data[8] = data[data.find(b"PK\1\2") + 10] = 99


def _damaged(data: bytearray) -> None:
    data[44:54] = b"\xff" * 10


@pytest.mark.parametrize(
    ("change", "method"),
    [
        (_encrypted, zipfile.ZIP_STORED),
        (_compressed_in_an_unknown_way, zipfile.ZIP_STORED),
        (_damaged, zipfile.ZIP_DEFLATED),
        (_damaged, zipfile.ZIP_BZIP2),
    ],
)
def test_a_member_that_cannot_be_unpacked_refuses_the_model(tmp_path, change, method):
    path = tmp_path / "model.tflite"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("modelport.json", b'{"modelport.names": "{}"}' * 10)
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    with pytest.raises(Permanent, match="cannot be read"):
        artefact_names.claims(ExportFormat.TFLITE, {"model.tflite": path})


def test_a_list_of_files_without_end_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(artefact_names, "MAX_BYTES", 1000)
    path = tmp_path / "model.torchscript"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100):
            archive.writestr(f"model/{number}", b"")
    with pytest.raises(Permanent, match="far more files"):
        artefact_names.claims(ExportFormat.TORCHSCRIPT, {"model.torchscript": path})


def test_messages_in_messages_do_not_multiply_the_limit(monkeypatch):
    monkeypatch.setattr(protobuf, "MAX_FIELDS", SMALL)
    many = b"\x0a\x00" * (SMALL // 4)
    with pytest.raises(protobuf.ProtobufError, match="fields"):
        protobuf.pairs(memoryview((b"\x0a" + bytes([len(many)]) + many) * 8), 1)
