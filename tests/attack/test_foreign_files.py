"""Archives and ONNX files from outside: what would leave the folder, fill the disk or read another file is refused, item by item."""

import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from contracts.errors import Permanent
from export_worker.frameworks.archive import unpack
from export_worker.sandbox import onnx_guard, outputs
from packager import archive as packages
from servicekit.sandbox.job_dir import JobDir

pytestmark = pytest.mark.attack
LIMIT = 64 << 20
Entry = tuple[str | zipfile.ZipInfo, bytes]


def link(name: str, target: bytes) -> Entry:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


CONFIG: Entry = ("config.json", b"{}")
ARCHIVES: dict[str, Callable[[Path], list[Entry]]] = {
    "parent": lambda _: [("../escaped.json", b"{}")],
    "parent in the middle": lambda _: [("a/../../escaped.json", b"{}")],
    "absolute": lambda _: [("/tmp/escaped.json", b"{}")],
    "drive": lambda _: [("C:/escaped.json", b"{}")],
    "backslashes": lambda _: [("..\\escaped.json", b"{}")],
    "link": lambda _: [link("weights.bin", b"/etc/passwd")],
    "link, then a file below it": lambda folder: [link("a", str(folder).encode()), ("a/escaped.json", b"{}")],
    "names twice": lambda _: [CONFIG],
    "names that differ in case": lambda _: [("CONFIG.JSON", b"{}")],
    "a ratio as of 42.zip": lambda _: [("model.bin", b"\0" * (32 << 20))],
    "entries without end": lambda _: [(f"{number}.json", b"") for number in range(5000)],
    "a sibling that begins alike": lambda folder: [(f"../{folder.name}-sibling/escaped.json", b"{}")],
}


def zipped(path: Path, entries: list[Entry]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in entries:
            archive.writestr(name, body)
    return path


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_archive_is_refused_and_leaves_nothing_outside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    path = zipped(tmp_path / "model.zip", [CONFIG, *ARCHIVES[name](folder)])
    with pytest.raises(Permanent) as caught:
        unpack(path, folder, LIMIT)
    assert caught.value.code == "checkpoint_unreadable"
    assert not list(tmp_path.rglob("escaped.json"))
    assert all(found.is_relative_to(folder) or found in (folder, path) for found in tmp_path.rglob("*"))
    assert not any(found.is_symlink() for found in tmp_path.rglob("*"))


def test_our_own_packages_contain_none_of_it(tmp_path: Path) -> None:
    made = [tmp_path / "one.zip", tmp_path / "two.zip"]
    (tmp_path / "weights").write_bytes(os.urandom(1000))
    files = {"config.json": tmp_path / "weights", "a/model.bin": tmp_path / "weights"}
    for path in made:
        packages.write(path, files)
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as archive:
        assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", name) and ".." not in name for name in archive.namelist())
        assert not any(stat.S_ISLNK(entry.external_attr >> 16) for entry in archive.infolist())
    assert unpack(made[0], tmp_path / "out", LIMIT) == tmp_path / "out"


def external(*pairs: tuple[str, str]) -> Callable[[TensorProto], None]:
    def change(tensor: TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in pairs:
            tensor.external_data.add(key=key, value=value)

    return change


TENSORS: dict[str, Callable[[TensorProto], None]] = {
    "parent": external(("location", "../../secret")),
    "absolute": external(("location", "/etc/passwd")),
    "a link beside the model": external(("location", "link")),
    "a folder that is a link": external(("location", "folder/secret")),
    "a hard link beside the model": external(("location", "hard")),
    "negative offset": external(("location", "weights"), ("offset", "-1")),
    "negative length": external(("location", "weights"), ("length", "-1")),
    "huge length": external(("location", "weights"), ("length", str(1 << 62))),
    "dunder key": external(("location", "weights"), ("__class__", "x"), ("__dict__", "y")),
    "empty location": external(("location", "")),
    "no location": external(),
    "a key twice": external(("location", "weights"), ("location", "../secret")),
    "a location in UNC": external(("location", "\\\\host\\share\\x")),
}


def model() -> ModelProto:
    weights = numpy_helper.from_array(np.ones((1, 2), np.float32), "w")
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "b", [], [value("y")])
    nodes = [
        helper.make_node("Add", ["x", "w"], ["sum"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True), "v")),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2])


PLACES: dict[str, Callable[[ModelProto], TensorProto]] = {
    "an initializer": lambda m: m.graph.initializer[0],
    "a constant": lambda m: m.graph.node[1].attribute[0].t,
    "a branch": lambda m: m.graph.node[2].attribute[0].g.initializer.add(name="w", data_type=1, dims=[1]),
    "sparse values": lambda m: m.graph.sparse_initializer.add(dims=[2]).values,
    "sparse indices": lambda m: m.graph.sparse_initializer.add(dims=[2]).indices,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", TENSORS)
def test_an_onnx_file_that_reads_another_file_is_refused(tmp_path: Path, name: str, place: str) -> None:
    hostile = model()
    onnx_guard.check(written(tmp_path, hostile))
    TENSORS[name](PLACES[place](hostile))
    with pytest.raises(Permanent, match=r"outside the file|sparse") as caught:
        onnx_guard.check(written(tmp_path, hostile))
    assert caught.value.code == "conversion_failed"


def written(folder: Path, made: ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


LINKS: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda output, secret: (output / "model.onnx").symlink_to(secret),
    "a link to nothing": lambda output, _: (output / "model.onnx").symlink_to("nowhere"),
    "a hard link": lambda output, secret: os.link(secret, output / "model.onnx"),
    "a folder": lambda output, _: (output / "model.onnx").mkdir(),
    "a pipe": lambda output, _: os.mkfifo(output / "model.onnx"),
    "output itself a link": lambda output, secret: (output.rmdir(), output.symlink_to(secret.parent)),
    "nothing": lambda output, _: None,
    "no byte": lambda output, _: (output / "model.onnx").touch(),
}


@pytest.mark.parametrize("name", LINKS)
def test_an_output_that_is_no_plain_file_is_refused(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secrets" / "model.onnx"
    secret.parent.mkdir()
    secret.write_text("secret")
    job = JobDir.create(tmp_path / "run", os.geteuid())
    LINKS[name](job.path / "output", secret)
    with pytest.raises(Permanent) as caught:
        outputs.take(job, "model.onnx", LIMIT)
    assert caught.value.code == "conversion_failed"
    assert secret.read_text() == "secret"
    assert not any(path.is_file() for path in (job.root / "taken").rglob("*"))
