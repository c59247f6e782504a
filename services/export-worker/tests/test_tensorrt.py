"""TensorRT-RTX engines built ahead of time: what is promised of them (`built`, never more), and refusals by the node's name."""

import importlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat, Precision, Proof
from export_worker.formats import onnx2tensorrt
from export_worker.loaded import Artefact
from export_worker.parity.verify import verify
from export_worker.runtimes import tensorrt
from export_worker.runtimes.tensorrt import Unexecuted

from .exporting import Case, Exported, export, until

RTX = {"flavor": "rtx"}


@pytest.fixture(scope="module")
def classifier(sample) -> Case:
    return Case.of(sample("digits-timm"))


@pytest.fixture(scope="module")
def exported(classifier: Case, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("tensorrt"), classifier, "tensorrt", {**RTX, "max_batch_size": 8})


def test_what_no_gpu_has_executed_is_built_and_never_verified(exported: Exported):
    metadata = exported.metadata
    assert metadata.parity.proof is Proof.BUILT
    assert metadata.performance is None
    assert "was not executed" in str(exported.report["runtime"])
    assert metadata.provenance.route == ("torch", "onnx", "tensorrt")
    assert "TensorRT-RTX" in metadata.portability
    assert "8.9" in metadata.portability or "89" in metadata.portability
    assert metadata.precision is Precision.FP16
    assert exported.model.stat().st_size > 1 << 20


def test_the_engine_is_one_that_its_runtime_parses(exported: Exported):
    """Without a driver nothing is loaded; the runtime says that it is the driver that it misses, not the engine."""
    trt = importlib.import_module("tensorrt_rtx")
    complaints: list[str] = []
    runtime = trt.Runtime(onnx2tensorrt.listener(trt, complaints))
    engine = runtime.deserialize_cuda_engine(exported.model.read_bytes())
    assert engine is not None or any("cuda" in text.lower() for text in complaints)


def test_an_onnx_model_that_differs_from_its_source_leaves_no_engine(classifier: Case, tmp_path: Path):
    work = until("convert", tmp_path, classifier, "tensorrt", RTX)
    artefact = work.need_artefact()
    assert artefact.intermediate is not None
    model = onnx.load(str(artefact.intermediate))
    weight = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weight.raw_data = bytes(len(weight.raw_data))
    onnx.save(model, str(artefact.intermediate))
    with pytest.raises(Permanent) as refused:
        verify(work)
    assert refused.value.code == "parity_failed"


def test_no_batch_is_larger_than_the_engines_profile(classifier: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given: list[int] = []
    run = Unexecuted.__call__

    def seen(self: Unexecuted, tensor: np.ndarray) -> list[np.ndarray]:
        given.append(len(tensor))
        return run(self, tensor)

    monkeypatch.setattr(Unexecuted, "__call__", seen)
    verify(until("convert", tmp_path, classifier, "tensorrt", {**RTX, "max_batch_size": 2}))
    assert max(given) == 2


@pytest.mark.parametrize(("capability", "can"), [((8, 9), True), ((9, 0), False)])
def test_an_engine_for_other_gpus_is_not_executed_on_this_one(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], can: bool
):
    """An engine built ahead of time, on a worker whose GPU is none of those that it was built for."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    monkeypatch.setattr(tensorrt, "EngineRuntime", lambda artefact: "executed")
    metadata = exported.metadata
    artefact = Artefact(
        path=exported.model,
        export_format=ExportFormat.TENSORRT,
        graph=torch.nn.Identity(),
        preprocessing=metadata.preprocessing,
        postprocessing=metadata.postprocessing,
        input_spec=metadata.input_spec,
        output_specs=tuple(metadata.output_spec.values()),
        toolchain=metadata.provenance.toolchain,
        dynamic_batch=True,
        dynamic_size=False,
        intermediate=exported.folder / "tmp" / "model.onnx",
    )
    assert (tensorrt.open_artefact(artefact) == "executed") is can


def test_a_node_that_the_parser_lacks_is_named(tmp_path: Path):
    trt = importlib.import_module("tensorrt_rtx")
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 3, 4, 4])
    node = helper.make_node("Det", ["images"], ["answer"], name="/head/Det")
    graph = helper.make_graph([node], "g", [image], [answer])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))

    builder = trt.Builder(onnx2tensorrt.listener(trt, []))
    with pytest.raises(onnx2tensorrt.OperatorError, match="Det") as refused:
        onnx2tensorrt.parsed(trt, builder, path)
    assert refused.value.operator == "/head/Det"
