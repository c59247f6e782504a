"""The gate can close: every way in which an artefact or its description may be wrong ends the job, and is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from msgspec import structs
from onnx import numpy_helper

from contracts.model_package import Normalize
from contracts.vocabulary import ResizeMethod
from export_worker.loaded import Work
from export_worker.parity.gate import ParityError
from export_worker.parity.verify import verify
from export_worker.runtimes.named_nodes import module_of
from export_worker.runtimes.onnx import OnnxRuntime
from samples.cache import Sample

from .exporting import Case, until

pytestmark = pytest.mark.slow
Samples = Callable[[str], Sample]


@pytest.fixture
def detector(sample: Samples) -> Case:
    return Case.of(sample("shapes-detector"))


@pytest.fixture
def classifier(sample: Samples) -> Case:
    return Case.of(sample("digits-timm"))


def described(work: Work, section: str, **changes: object) -> Work:
    """`work` whose artefact is described otherwise than it was made."""
    artefact = work.need_artefact()
    pre = artefact.preprocessing
    changed = structs.replace(pre, **{section: structs.replace(getattr(pre, section), **changes)})
    return structs.replace(work, artefact=structs.replace(artefact, preprocessing=changed))


def refused(work: Work) -> ParityError:
    with pytest.raises(ParityError) as caught:
        verify(work)
    report = (work.output / "parity_report.json").read_text()
    assert '"proof": "failed"' in report
    assert not (work.output / "metadata.json").exists()
    assert caught.value.code == "parity_failed"
    return caught.value


FAULTS: dict[str, tuple[str, dict[str, object]]] = {
    "mean": ("normalize", {"mean": (0.485, 0.456, 0.406)}),
    "divided twice": ("normalize", {"std": (255.0, 255.0, 255.0)}),
    "colour order": ("format", {"color_space": "BGR"}),
    "stretched": ("resize", {"method": ResizeMethod.STRETCH}),
    "corner": ("resize", {"center": False}),
    "padding": ("resize", {"fill_value": 0}),
    "kernel": ("resize", {"kernel": "pil_bilinear"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_description_of_the_preprocessing_fails(detector: Case, tmp_path: Path, fault: str):
    work = until("convert", tmp_path, detector, "onnx", {"embed_preprocessing": False})

    error = refused(described(work, FAULTS[fault][0], **FAULTS[fault][1]))

    assert error.operator == "preprocessing"


@pytest.mark.parametrize("embed", [True, False])
def test_an_untouched_artefact_passes(detector: Case, tmp_path: Path, embed: bool):
    work = until("convert", tmp_path, detector, "onnx", {"embed_preprocessing": embed})

    verify(work)

    assert (tmp_path / "output" / "metadata.json").exists()


def test_wrong_normalisation_inside_the_graph_fails(classifier: Case, tmp_path: Path):
    work = until("load", tmp_path, classifier, "onnx")
    loaded = work.need_loaded()
    wrong = structs.replace(loaded.preprocessing, normalize=Normalize(mean=(0.485, 0.456, 0.406)))
    from export_worker.formats.torch2onnx import convert

    work = convert(structs.replace(work, loaded=structs.replace(loaded, preprocessing=wrong)))

    assert refused(work).operator == "preprocessing"


def test_boxes_that_lie_elsewhere_are_no_ties_of_eight_bits(
    detector: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """12 pixels are within what int8 may do to a tensor, and no suppression of the source's own boxes explains them."""
    work = until("convert", tmp_path, detector, "onnx", None, {"quantization": {"method": "dynamic"}})
    run = OnnxRuntime.__call__

    def aside(self: OnnxRuntime, tensor: np.ndarray) -> list[np.ndarray]:
        made = [answer.copy() for answer in run(self, tensor)]
        made[0][:, 0] += 12
        return made

    monkeypatch.setattr(OnnxRuntime, "__call__", aside)

    assert "predictions decided otherwise by ties" in refused(work).message


def spoil_onnx(path: Path, layer: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    model = onnx.load(str(path))
    (initializer,) = [entry for entry in model.graph.initializer if entry.name == layer]
    values = change(numpy_helper.to_array(initializer).copy())
    initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    onnx.save(model, str(path))


@pytest.mark.parametrize("layer", ["model.model.4.cv1.conv", "model.model.0.conv", "model.model.23.cv2.0.2"])
def test_a_perturbed_weight_is_found_by_its_layer(detector: Case, tmp_path: Path, layer: str):
    work = until("convert", tmp_path, detector, "onnx")
    spoil_onnx(work.need_artefact().path, f"{layer}.weight", lambda values: values * 1.05)

    error = refused(work)

    assert error.operator == layer
    assert layer in error.message


@pytest.mark.parametrize("layer", ["model.layer2.0.conv1", "model.fc"])
def test_a_perturbed_weight_under_a_folded_normalisation_is_found(classifier: Case, tmp_path: Path, layer: str):
    work = until("convert", tmp_path, classifier, "onnx")
    model = onnx.load(str(work.need_artefact().path))
    modules = {name for name, _ in work.need_artefact().graph.named_modules()}
    node = next(n for n in model.graph.node if module_of(n.name, modules) == layer and n.op_type in {"Conv", "Gemm"})
    spoil_onnx(work.need_artefact().path, node.input[1], lambda values: values * 1.2)

    error = refused(work)

    assert error.operator in {layer, layer.replace("conv1", "bn1")}


def test_a_layer_that_gives_nan_is_found(detector: Case, tmp_path: Path):
    work = until("convert", tmp_path, detector, "onnx")
    spoil_onnx(work.need_artefact().path, "model.model.6.cv2.conv.weight", lambda values: values * np.nan)

    error = refused(work)

    assert error.operator == "model.model.6.cv2.conv"


def test_a_perturbed_weight_in_torchscript_is_found_by_its_layer(detector: Case, tmp_path: Path):
    work = until("convert", tmp_path, detector, "torchscript")
    path = str(work.need_artefact().path)
    module = torch.jit.load(path)
    with torch.no_grad():
        dict(module.named_parameters())["model.model.4.cv1.conv.weight"].mul_(1.05)
    torch.jit.save(module, path)

    assert refused(work).operator.startswith("model.model.4.cv1")


def test_wrong_thresholds_or_decoder_fail(detector: Case, tmp_path: Path):
    work = until("convert", tmp_path, detector, "onnx")
    artefact = work.need_artefact()
    nms = structs.replace(artefact.postprocessing.nms, class_agnostic=True, iou_threshold=0.05)
    wrong = structs.replace(artefact.postprocessing, nms=nms)
    trusting = structs.replace(work, artefact=structs.replace(artefact, postprocessing=wrong))
    loaded = work.need_loaded()

    def source_at_its_own_threshold(picture, confidence, iou):
        return loaded.source(picture, confidence, 0.7)

    spoiled = structs.replace(trusting, loaded=structs.replace(loaded, source=source_at_its_own_threshold))

    assert "predictions" in refused(spoiled).operator


def test_a_batch_that_the_exporter_froze_fails(classifier: Case, tmp_path: Path):
    work = until("convert", tmp_path, classifier, "onnx")
    path = work.need_artefact().path
    model = onnx.load(str(path))
    output = model.graph.output[0].name
    last = next(node for node in model.graph.node if output in node.output)
    last.output[0] = "all_rows"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    model.graph.node.append(onnx.helper.make_node("Gather", ["all_rows", "first"], [output], axis=0))
    onnx.save(model, str(path))

    assert "batch" in refused(work).message


def test_another_suppression_inside_the_graph_fails(detector: Case, tmp_path: Path):
    work = until("convert", tmp_path, detector, "onnx", {"embed_nms": True})
    path = work.need_artefact().path
    model = onnx.load(str(path))
    (suppression,) = [node for node in model.graph.node if node.op_type == "NonMaxSuppression"]
    (threshold,) = [node for node in model.graph.node if suppression.input[3] in node.output]
    value = numpy_helper.to_array(threshold.attribute[0].t)
    threshold.attribute[0].t.CopyFrom(numpy_helper.from_array(np.full_like(value, 0.2)))
    onnx.save(model, str(path))

    assert "suppressed otherwise" in refused(work).message


def test_a_source_that_answers_nan_is_told_so(detector: Case, tmp_path: Path):
    work = until("convert", tmp_path, detector, "onnx")
    loaded = work.need_loaded()

    def broken(picture, confidence, iou):
        run = loaded.source(picture, confidence, iou)
        return run._replace(outputs=tuple(one * np.nan for one in run.outputs))

    assert "source" in refused(structs.replace(work, loaded=structs.replace(loaded, source=broken))).message
