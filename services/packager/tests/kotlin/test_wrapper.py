"""ModelWrapper of Kotlin on tiny models: batches, threads, types, closing, and models that are not those of their metadata."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from packager.toolchains.kotlin import EXAMPLE
from processing import goldens
from processing.pipeline import Pipeline

from .metadata import metadata
from .probe import Refused

PICTURES = [("ramp", 40, 90, 1), ("noise", 61, 33, 2), ("ramp", 32, 48, 3), ("noise", 20, 120, 4), ("ramp", 7, 7, 5)]


def means(batch, *, is_embedded=False, element=TensorProto.FLOAT, name="output0"):
    """The mean colours of each picture, as numbers of some type."""
    axes = numpy_helper.from_array(np.array([1, 2] if is_embedded else [2, 3], np.int64), "axes")
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["means"], keepdims=0),
        helper.make_node("Cast", ["means"], [name], to=element),
    ]
    given, shape = (TensorProto.UINT8, [batch, 48, 64, 3]) if is_embedded else (TensorProto.FLOAT, [batch, 3, 48, 64])
    inputs = [helper.make_tensor_value_info("images", given, shape)]
    outputs = [helper.make_tensor_value_info(name, element, [batch, 3])]
    graph = helper.make_graph(nodes, "means", inputs, outputs, [axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=12)


def package(folder, model, batch, *, is_embedded=False, **changes):
    rules = {}
    if is_embedded:
        rules = {
            "preprocessing__normalize": {"embedded": True},
            "preprocessing__format": {"output_layout": "NHWC", "dtype": "uint8"},
        }
    more = {"input_spec": {"name": "images", "shape": [batch, 3, 48, 64]}, "provenance": {"export_options": {}}}
    document = metadata("softmax", 3, **{**rules, **more, **changes})
    (folder / "metadata.json").write_text(json.dumps(document))
    onnx.save(model, folder / "model.onnx")
    return document


def drawn(picture):
    return dict(zip(("pattern", "height", "width", "seed"), picture, strict=True))


def by_python(folder, document):
    """Each picture's predictions, one at a time."""
    pipeline = Pipeline.from_metadata(document)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    batch, found = max(document["input_spec"]["shape"][0], 1), []
    for picture in PICTURES:
        tensor, geometry = pipeline.preprocess(goldens.draw(*picture))
        outputs = session.run(None, {"images": np.repeat(tensor, batch, axis=0)})
        found.append([p.as_dict() for p in pipeline.postprocess({"output0": outputs[0][:1]}, geometry)])
    return found


def same(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert [p["class_name"] for p in one] == [p["class_name"] for p in other]
        np.testing.assert_allclose([p["confidence"] for p in one], [p["confidence"] for p in other], rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 4, -1])
@pytest.mark.parametrize("is_embedded", [False, True])
def test_alone_together_at_once_and_from_memory(probe, tmp_path, batch, is_embedded):
    model = means(batch if batch > 0 else "pictures", is_embedded=is_embedded)
    document = package(tmp_path, model, batch, is_embedded=is_embedded)
    answer = probe.ask("wrapper", package=tmp_path, pictures=[drawn(picture) for picture in PICTURES])
    expected = by_python(tmp_path, document)
    for way in ("alone", "together", "threaded"):
        same(answer[way], expected)
    same([answer["from_bytes"]], expected[:1])
    assert answer["closed"] == "closed"


@pytest.mark.parametrize("options", [{}, {"max_batch_size": 3}, {"max_batch_size": None}])
def test_pictures_go_through_a_model_of_any_batch_together(probe, tmp_path, options):
    package(tmp_path, means("pictures"), -1, provenance={"export_options": options})
    assert probe.ask("load", package=tmp_path) == (options.get("max_batch_size") or 16)


@pytest.mark.parametrize(
    "element",
    [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32],
    ids=TensorProto.DataType.Name,
)
def test_outputs_of_every_type_of_number(probe, tmp_path, element):
    model = means(1, is_embedded=True, element=element)
    document = package(tmp_path, model, 1, is_embedded=True)
    got = probe.ask("run", package=tmp_path, **drawn(PICTURES[0]))["output0"]
    tensor, _ = Pipeline.from_metadata(document).preprocess(goldens.draw(*PICTURES[0]))
    expected = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"images": tensor})[0]
    assert got["shape"] == [1, 3]
    np.testing.assert_allclose(got["values"], expected[0].astype(np.float64), rtol=1e-6)


def test_an_output_that_holds_no_numbers_is_refused(probe, tmp_path):
    package(tmp_path, means(1, element=TensorProto.BOOL), 1)
    with pytest.raises(Refused, match="'output0' is no tensor of numbers") as refused:
        probe.ask("run", package=tmp_path, **drawn(PICTURES[0]))
    assert refused.value.field == "output_spec"


FAULTS = {
    "another format": ({"model_info": {"export_format": "tflite"}}, "metadata_unsupported", "model_info.export_format"),
    "another input": ({"input_spec": {"name": "x", "shape": [1]}}, "metadata_unsupported", "input_spec.name"),
    "more pictures than there are": (
        {"input_spec": {"name": "images", "shape": [2**31 - 1]}},
        "metadata_unsupported",
        "input_spec.shape",
    ),
    "more than 32 bits": (
        {"input_spec": {"name": "images", "shape": [2**32]}},
        "metadata_unsupported",
        "input_spec.shape",
    ),
    "no pictures": ({"input_spec": {"name": "images", "shape": [0]}}, "metadata_unsupported", "input_spec.shape"),
    "fewer than none": ({"input_spec": {"name": "images", "shape": [-7]}}, "metadata_unsupported", "input_spec.shape"),
    "half a picture": ({"input_spec": {"name": "images", "shape": [1.5]}}, "metadata_unsupported", "input_spec.shape"),
    "another number of pictures": (
        {"input_spec": {"name": "images", "shape": [4, 3, 48, 64]}},
        "metadata_unsupported",
        "input_spec.shape",
    ),
    "no shape": ({"input_spec": {"name": "images"}}, "metadata_unsupported", "input_spec.shape"),
    "another file": ({"model_file": "other.onnx"}, "io", None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_package_that_contradicts_itself_is_refused(probe, tmp_path, fault):
    changes, code, field = FAULTS[fault]
    package(tmp_path, means(1), 1, **changes)
    with pytest.raises(Refused) as refused:
        probe.ask("load", package=tmp_path)
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize("shape", [[], [0, 3, 48, 64], [3, 3, 48, 64]])
def test_a_tensor_of_another_number_of_pictures_is_refused(probe, tmp_path, shape):
    package(tmp_path, means(2), 2)
    assert probe.ask("tensor", package=tmp_path, shape=[1, 3, 48, 64]) == ["output0"]
    with pytest.raises(Refused, match="is not that of 1 to 2 pictures") as refused:
        probe.ask("tensor", package=tmp_path, shape=shape)
    assert (refused.value.code, refused.value.field) == ("invalid_request", "tensor")


def test_an_output_that_is_not_there_is_named(probe, tmp_path):
    package(tmp_path, means(1, name="scores"), 1)
    with pytest.raises(Refused, match=r"names 'output0', the model gave \[scores\]"):
        probe.ask("run", package=tmp_path, **drawn(PICTURES[0]))


def test_a_batch_that_the_model_does_not_keep_is_refused(probe, tmp_path):
    model = means("pictures")
    model.graph.node[1].CopyFrom(helper.make_node("ReduceMean", ["numbers", "every"], ["means"], keepdims=0))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 2], np.int64), "every"))
    model.graph.output[0].type.tensor_type.shape.Clear()
    package(tmp_path, model, -1)
    with pytest.raises(Refused, match=r"'output0' has the shape \[3, 64\] for 1 pictures"):
        probe.ask("run", package=tmp_path, **drawn(PICTURES[0]))


@pytest.mark.parametrize("data", [b"", b"no model at all", None])
def test_a_damaged_model_is_the_backends_error(probe, tmp_path, data):
    package(tmp_path, means(1), 1)
    whole = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2] if data is None else data)
    with pytest.raises(Refused, match="cannot load the model") as refused:
        probe.ask("load", package=tmp_path)
    assert refused.value.code == "runtime_unavailable"


def test_a_native_library_that_is_none_is_the_backends_error(kotlin_wrapper, tmp_path):
    """As on a machine that ONNX Runtime was not built for."""
    package(tmp_path, means(1), 1)
    natives = tmp_path / "natives"
    natives.mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime4j_jni.so"):
        (natives / name).write_bytes(b"of another machine")
    Image.new("RGB", (5, 4)).save(tmp_path / "picture.png")
    command = replace(kotlin_wrapper, natives=natives).command(EXAMPLE, "--package", ".", "picture.png")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("example: ONNX Runtime's native library cannot be loaded: ")
