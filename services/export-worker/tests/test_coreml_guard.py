"""The guard lets our packages pass and names what a hostile one holds."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import Permanent
from export_worker.formats import coreml_package
from export_worker.runtimes.coreml.toolchain import ct
from export_worker.sandbox import coreml_guard

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """Of a small package as our converter stores it."""
    mb = ct.converters.mil.Builder

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 64))])
    def program(x: object) -> object:
        return mb.linear(x=x, weight=np.ones((64, 64), np.float32))

    folder = tmp_path_factory.mktemp("package")
    ct.convert(program, convert_to="mlprogram", skip_model_load=True).save(str(folder / "model.mlpackage"))
    coreml_package.write(folder / "stored.zip", folder / "model.mlpackage")
    with zipfile.ZipFile(folder / "stored.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def stored(members: Members, folder: Path) -> Path:
    path = folder / "model.mlpackage.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def test_a_package_of_ours_passes(members: Members, tmp_path: Path):
    coreml_guard.check(stored(members, tmp_path))


def renamed(old: bytes, new: bytes) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        body = members[coreml_guard.SPECIFICATION]
        assert old in body
        return {**members, coreml_guard.SPECIFICATION: body.replace(old, new)}

    return change


def of_kind(change: Callable[[object], None]) -> Callable[[Members], Members]:
    def made(members: Members) -> Members:
        model = ct.proto.Model_pb2.Model()
        model.ParseFromString(members[coreml_guard.SPECIFICATION])
        change(model)
        return {**members, coreml_guard.SPECIFICATION: model.SerializeToString()}

    return made


def listing(*paths: str) -> bytes:
    return json.dumps({"itemInfoEntries": {str(number): {"path": path} for number, path in enumerate(paths)}}).encode()


HOSTILE: dict[str, Callable[[Members], Members]] = {
    "weights of another file": renamed(b"@model_path/weights/weight.bin", b"@model_path/../../etc/shadow.1"),
    "an operator that may not be in it": of_kind(
        lambda model: setattr(
            next(iter(model.mlProgram.functions["main"].block_specializations.values())).operations[-1],
            "type",
            "while_loop",
        )
    ),
    "none of the model": of_kind(lambda model: setattr(model.customModel, "className", "Evil")),
    "its specification is cut off": lambda m: {**m, coreml_guard.SPECIFICATION: m[coreml_guard.SPECIFICATION][:-7]},
    "no operators": lambda m: {**m, coreml_guard.SPECIFICATION: b"\x08\x07"},
    "it holds": lambda m: {**m, "model.mlpackage/../../evil": b"x"},
    "its manifest is none": lambda m: {**m, coreml_guard.MANIFEST: b"[]"},
    "its manifest lists": lambda m: {**m, coreml_guard.MANIFEST: listing("../../evil", "com.apple.CoreML/weights")},
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_package_of_an_enemy_is_refused_by_name(members: Members, tmp_path: Path, reason: str):
    path = stored(HOSTILE[reason](members), tmp_path)

    with pytest.raises(Permanent, match=reason) as refused:
        coreml_guard.check(path)

    assert refused.value.code == "conversion_failed"


def test_values_nested_without_end_are_refused(members: Members, tmp_path: Path):
    def deepen(model: object) -> None:
        value = model.mlProgram.attributes["x"]
        for _ in range(100):
            value = value.immediateValue.list.values.add()

    with pytest.raises(Permanent, match="nested more than"):
        coreml_guard.check(stored(of_kind(deepen)(members), tmp_path))


NAMES = {"Program": "program", "Function": "function", "Block": "block", "Operation": "operation", "Value": "value",
         "Argument": "argument", "NamedValueType": "named", "TensorType": "tensor type", "ValueType": "type"}  # fmt: skip


@pytest.mark.parametrize("message", NAMES)
def test_the_tables_know_the_fields_of_the_installed_release(message: str):
    fields = ct.proto.MIL_pb2.DESCRIPTOR.message_types_by_name[message].fields

    assert {field.number for field in fields} == set(coreml_guard.TABLE[NAMES[message]])
