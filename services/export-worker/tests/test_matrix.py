"""Every sample to every format: the packaged wrapper is as good at the task as the framework that trained the model.

The metrics are those of held-out pictures: accuracy, mAP50 by boxes, masks, key points or rotated boxes, mean IoU.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat, Precision, Proof, TaskType
from export_worker import registry
from export_worker.loaded import Artefact
from processing.pipeline import Pipeline
from samples import sources
from samples.cache import Sample
from samples.evaluation import METRICS, Predictor
from samples.held_out import held_out
from samples.overlaps import Prediction
from samples.recipes import RECIPES
from samples.scenes import Scene

from . import litert
from .exporting import Case, Exported, export
from .packaged import Wrappers, unpacked

pytestmark = pytest.mark.slow
Samples = Callable[[str], Sample]

EVERY_THIRD = 3
"""Of the digits: with 150 of them a single one that is told differently is more than is allowed."""
ALLOWED = {Precision.FP32: 0.005, Precision.FP16: 0.01, Precision.INT8_WEIGHTS: 0.01}
OPTIMIZATION: dict[Precision, dict[str, object]] = {
    Precision.FP32: {},
    Precision.FP16: {"quantization": {"method": "weight_only", "dtype": "float16"}},
    Precision.INT8_WEIGHTS: {"quantization": {"method": "weight_only", "dtype": "qint8"}},
}
OPTIONS: dict[tuple[str, Precision], dict[str, object]] = {("coreml", Precision.FP32): {"precision": "fp32"}}
DOUBTFUL = {"confidence": 0.001, "max_detections": 300}
OPTIONS_OF_TASK = {TaskType.IMAGE_CLASSIFICATION: {"top_k": 1}, TaskType.SEMANTIC_SEGMENTATION: {}}
IN_PROCESS = ("onnx", "torchscript", "openvino", "coreml")
LOWER = (
    ("onnx", Precision.FP16),
    ("openvino", Precision.FP16),
    ("openvino", Precision.INT8_WEIGHTS),
    ("coreml", Precision.FP16),
    ("coreml", Precision.INT8_WEIGHTS),
)
REDUCED = ("shapes-detector", "shapes-segmenter", "digits-timm-transformer", "shapes-segformer")
"""In lower precisions too: of each framework one, convolutions and attention, boxes and masks."""
CELLS = [
    *((name, target, Precision.FP32) for name in RECIPES for target in IN_PROCESS),
    *((name, *lower) for name in REDUCED for lower in LOWER),
]
OFTEN = ("onnx", "openvino")
"""Made of every sample in every edition of the tests; the rest of the matrix, LiteRT's above all, takes `make matrix`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The ordinary edition makes a part of the matrix, `--full` makes all of it."""
    full = metafunc.config.getoption("full")
    if "on_litert" in metafunc.fixturenames:
        metafunc.parametrize("name", list(RECIPES) if full else REDUCED)
    elif "target" in metafunc.fixturenames:
        cells = [cell for cell in CELLS if full or cell[1] in OFTEN or cell[0] in REDUCED]
        metafunc.parametrize(("name", "target", "precision"), cells)


@pytest.fixture(scope="module")
def wrappers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wrappers]:
    with Wrappers(sys.executable, tmp_path_factory.mktemp("wrappers")) as process:
        yield process


@pytest.fixture(scope="module")
def at_source(sample: Samples, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], float]:
    """Metric of the framework that trained the sample, measured once."""
    measured: dict[str, float] = {}

    def measure(name: str) -> float:
        if name not in measured:
            predictor = sources.source(sample(name), tmp_path_factory.mktemp(name))
            measured[name] = METRICS[RECIPES[name].task_type](predictor, pictures(name))
        return measured[name]

    return measure


def pictures(name: str) -> Sequence[Scene]:
    is_digits = RECIPES[name].task_type == TaskType.IMAGE_CLASSIFICATION
    return held_out(name)[:: EVERY_THIRD if is_digits else 1]


def evaluated(made: Exported) -> Predictor:
    """The saved Core ML program by the reference evaluator, between the package's own pre- and post-processing."""
    metadata = made.metadata
    pipeline = Pipeline.from_metadata(msgspec.to_builtins(metadata))
    artefact = Artefact(
        path=made.model,
        export_format=ExportFormat.COREML,
        graph=torch.nn.Identity(),
        preprocessing=metadata.preprocessing,
        postprocessing=metadata.postprocessing,
        input_spec=metadata.input_spec,
        output_specs=tuple(metadata.output_spec[name] for name in pipeline.output_names),
        toolchain={},
        dynamic_batch=False,
        dynamic_size=False,
    )
    runtime = registry.resolve(registry.RUNTIMES[ExportFormat.COREML])(artefact)
    options = OPTIONS_OF_TASK.get(TaskType(metadata.model_info.task_type), DOUBTFUL)

    def predict(picture: np.ndarray) -> list[Prediction]:
        tensor, geometry = pipeline.preprocess(picture)
        outputs = dict(zip(pipeline.output_names, runtime(tensor), strict=True))
        return [found.as_dict() for found in pipeline.postprocess(outputs, geometry, **options)]

    return predict


def test_a_packaged_model_is_as_good_as_its_source(
    name: str,
    target: str,
    precision: Precision,
    sample: Samples,
    at_source: Callable[[str], float],
    wrappers: Wrappers,
    tmp_path: Path,
) -> None:
    options = OPTIONS.get((target, precision), {})
    made = export(tmp_path, Case.of(sample(name)), target, options, OPTIMIZATION[precision])

    assert made.metadata.precision is precision
    assert made.metadata.parity.proof is (Proof.EVALUATED if target == "coreml" else Proof.VERIFIED)
    if target == "coreml":
        measured = METRICS[RECIPES[name].task_type](evaluated(made), pictures(name))
    else:
        answers = iter(wrappers.predict(unpacked(made), pictures(name)))
        measured = METRICS[RECIPES[name].task_type](lambda picture: next(answers), pictures(name))
    assert abs(measured - at_source(name)) <= ALLOWED[precision]


@pytest.fixture(scope="module")
def on_litert(
    sample: Samples, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> dict[str, Exported | Permanent]:
    """The samples exported in one process, as importing LiteRT takes long."""
    names = RECIPES if pytestconfig.getoption("full") else REDUCED
    return litert.export_all(tmp_path_factory.mktemp("litert"), {name: (Case.of(sample(name)), {}) for name in names})


@pytest.fixture(scope="module")
def litert_wrappers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wrappers]:
    with Wrappers(str(litert.PYTHON), tmp_path_factory.mktemp("wrappers")) as process:
        yield process


def test_a_packaged_litert_model_is_as_good_as_its_source(
    name: str,
    at_source: Callable[[str], float],
    litert_wrappers: Wrappers,
    on_litert: dict[str, Exported | Permanent],
) -> None:
    made = on_litert[name]
    assert isinstance(made, Exported), made
    assert made.metadata.parity.proof is Proof.VERIFIED
    answers = iter(litert_wrappers.predict(unpacked(made), pictures(name)))
    measured = METRICS[RECIPES[name].task_type](lambda picture: next(answers), pictures(name))
    assert abs(measured - at_source(name)) <= ALLOWED[Precision.FP32]


@pytest.mark.parametrize("name", RECIPES)
def test_a_sample_has_learned_its_task(name: str, at_source: Callable[[str], float]) -> None:
    is_accuracy = RECIPES[name].task_type == TaskType.IMAGE_CLASSIFICATION
    assert at_source(name) >= (0.95 if is_accuracy else 0.9)
