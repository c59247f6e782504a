"""The whole wrapper around a tiny model: alone, in batches of any and of a fixed number, from several threads, after it was moved."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from processing import goldens
from processing.pipeline import Pipeline

from ..kotlin.metadata import metadata
from ..kotlin.probe import Refused

PICTURES = [
    {"pattern": ("noise", "ramp")[number % 2], "height": 20 + 7 * number, "width": 90 - 3 * number, "seed": number}
    for number in range(21)
]


@pytest.fixture
def package(tmp_path):
    """A package of a classifier, whose logits are the mean colours of a picture; `batch` is the first axis of its input."""

    def make(batch, largest=None, **changes):
        side = "n" if batch < 0 else batch
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["images", "axes"], ["output0"], keepdims=0)],
            "means",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [side, 3, 48, 64])],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [side, 3])],
            [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, tmp_path / "model.onnx")
        described = metadata("softmax", 3, input_spec__shape=[batch, 3, 48, 64])
        described["provenance"] = {"export_options": {"max_batch_size": largest}}
        (tmp_path / "metadata.json").write_text(json.dumps(described | changes))
        return tmp_path

    return make


def expected(package):
    pipeline = Pipeline.from_metadata(json.loads((package / "metadata.json").read_text()))
    session = onnxruntime.InferenceSession(str(package / "model.onnx"), providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[0]
    for drawn in PICTURES:
        tensor, geometry = pipeline.preprocess(goldens.draw(**drawn))
        (output,) = session.run(None, {"images": np.repeat(tensor, size if isinstance(size, int) else 1, axis=0)})
        yield [p.as_dict() for p in pipeline.postprocess({"output0": output[:1]}, geometry)]


@pytest.mark.parametrize(("batch", "largest", "size"), [(-1, None, 16), (-1, 4, 4), (1, None, 1), (5, None, 5)])
def test_all_ways_of_asking_answer_alike(probe, package, batch, largest, size):
    folder = package(batch, largest)
    got = probe.ask("wrapper", package=folder, pictures=PICTURES)
    assert got["batch_size"] == size
    for way in ("alone", "together", "threaded"):
        for found, wanted in zip(got[way], expected(folder), strict=True):
            assert [p["class_id"] for p in found] == [p["class_id"] for p in wanted]
            np.testing.assert_allclose([p["confidence"] for p in found], [p["confidence"] for p in wanted], rtol=1e-5)


def test_options_reach_every_picture(probe, package):
    got = probe.ask("wrapper", package=package(-1), pictures=PICTURES[:3], options={"top_k": 1})
    assert [len(found) for found in got["together"]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_info": {"export_format": "coreml"}}, "model_info.export_format"),
        ({"input_spec": {"name": "images", "shape": [0, 3, 48, 64]}}, "input_spec.shape"),
        ({"input_spec": {"name": "images", "shape": [1 << 20, 3, 48, 64]}}, "input_spec.shape"),
        ({"input_spec": {"name": "images", "shape": []}}, "input_spec.shape"),
        ({"input_spec": {"name": "images", "shape": "many"}}, "input_spec.shape"),
        ({"output_spec": {"a": {"name": "output0"}, "b": {"name": "none"}}}, None),
        ({"input_spec": {"name": "pictures", "shape": [1, 3, 48, 64]}}, None),
        ({"input_spec": {"name": "images", "shape": [7, 3, 48, 64]}}, None),
    ],
)
def test_a_model_that_contradicts_its_metadata_is_refused(probe, package, changes, field):
    with pytest.raises(Refused) as refused:
        probe.ask("wrapper", package=package(1, **changes), pictures=PICTURES[:2])
    assert refused.value.field == field
    assert refused.value.code == ("metadata_unsupported" if field else "runtime_unavailable")


def test_a_model_that_is_none_or_not_there_is_refused(probe, package):
    folder = package(1)
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refused, match="ONNX Runtime cannot load the model"):
        probe.ask("wrapper", package=folder, pictures=PICTURES[:1])
    (folder / "model.onnx").unlink()
    with pytest.raises(Refused, match="there is no model"):
        probe.ask("wrapper", package=folder, pictures=PICTURES[:1])
