"""Tiny real models with metadata, golden vectors and reports, as a worker would leave them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from contracts import keys
from contracts import model_package as mp
from contracts import vocabulary as v
from contracts.deployment import ContainerConfig, EdgePackageConfig
from contracts.events import DeploymentRequestedV1, ModelExportedV1
from contracts.events.deployment import Access
from contracts.keys import ObjectRef
from packager import export_package
from packager.export_package import Package, Sources
from packager.settings import Settings
from processing import golden_examples
from processing.pipeline import Pipeline
from servicekit.objects import ObjectStore
from servicekit.servers import free_ports
from servicekit.testing import NatsServer, S3Server

SHAPES = ((40, 90), (61, 33), (32, 48), (20, 120))
LINUX = EdgePackageConfig(target_platform=v.TargetPlatform.LINUX)
HOSTILE = (
    "</table><script>alert(1)</script>",
    "| a | `b` | [c](http://evil) ![d](x) | **e**",
    "../../etc/passwd # heading ```",
    "'; import os; os.system('true') #",
    "日本語 ünï 🚀",
)


@dataclass(frozen=True)
class Artefact:
    """What one attempt of a worker left behind."""

    metadata: mp.ModelMetadata
    files: dict[str, Path]

    def sources(self) -> Sources:
        members = {name: path for name, path in self.files.items() if name != keys.LOG}
        return Sources(members=members, log=self.files[keys.LOG])

    async def store(self, store: ObjectStore, job_id: UUID, attempt: int = 1) -> ModelExportedV1:
        """Upload as a worker does; the event that it would publish."""
        refs: dict[str, ObjectRef] = {}
        for name, path in self.files.items():
            refs[name] = await store.put_file(keys.attempt_file(job_id, attempt, name), path)
        return ModelExportedV1(
            job_id=job_id,
            user_id=uuid4(),
            training_job_id=uuid4(),
            version=1,
            attempt=attempt,
            export_format=self.metadata.model_info.export_format,
            proof=self.metadata.parity.proof,
            model=refs[keys.MODEL_FILES[self.metadata.model_info.export_format]],
            parity_report=refs[keys.PARITY_REPORT],
            goldens=refs[keys.GOLDENS],
            log=refs[keys.LOG],
            metadata=self.metadata,
        )


def detector_graph() -> onnx.ModelProto:
    """[1, 3, 32, 48] to [1, 7, 2]: two fixed boxes, scored by the picture's mean colours."""
    boxes = np.array([[[24, 40], [16, 10], [20, 8], [12, 8]]], np.float32)
    constants = {
        "boxes": boxes,
        "weights": np.array([[[1.0, 0.8]]], np.float32),
        "shape": np.array([1, 3, 1], np.int64),
        "axes": np.array([2, 3], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["column"]),
        helper.make_node("Mul", ["column", "weights"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    return _model(nodes, constants, [1, 7, 2])


def classifier_graph() -> onnx.ModelProto:
    """[1, 3, 32, 48] to [1, 3]: the mean colours as logits."""
    nodes = [helper.make_node("ReduceMean", ["images", "axes"], ["output0"], keepdims=0)]
    return _model(nodes, {"axes": np.array([2, 3], np.int64)}, [1, 3])


def _model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], output: list[int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 48])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def make_metadata(*, detects: bool, export_format: v.ExportFormat, names: tuple[str, ...]) -> mp.ModelMetadata:
    resize = (
        mp.Resize(method=v.ResizeMethod.LETTERBOX, size=(32, 48), kernel=v.Kernel.CV2_LINEAR_U8)
        if detects
        else mp.Resize(method=v.ResizeMethod.STRETCH, size=(32, 48), kernel=v.Kernel.PIL_BILINEAR)
    )
    return mp.ModelMetadata(
        model_info=mp.ModelInfo(
            framework=v.Framework.ULTRALYTICS if detects else v.Framework.TIMM,
            task_type=v.TaskType.OBJECT_DETECTION if detects else v.TaskType.IMAGE_CLASSIFICATION,
            model_name="tiny `model` <b>",
            export_format=export_format,
        ),
        model_file=keys.PACKAGED_MODELS[export_format],
        preprocessing=mp.Preprocessing(resize=resize, normalize=mp.Normalize(), format=mp.TensorFormat()),
        postprocessing=mp.Postprocessing(
            decoder=v.Decoder.YOLO_V8 if detects else v.Decoder.SOFTMAX,
            nms=mp.Nms(enabled=detects, confidence_threshold=0.3),
            output_format=mp.OutputFormat(bbox_format="xyxy", coordinates="absolute") if detects else mp.OutputFormat(),
        ),
        input_spec=mp.TensorSpec(name="images", shape=(1, 3, 32, 48), dtype="float32", format="NCHW"),
        output_spec={"output0": mp.TensorSpec(name="output0", shape=(1, 7, 2), dtype="float32", format="raw")},
        classes=tuple(mp.ModelClass(id=i, name=name) for i, name in enumerate(names)),
        parity=mp.ParitySummary(
            proof=v.Proof.VERIFIED,
            inputs=32,
            non_square_inputs=16,
            outputs=(mp.OutputParity(name="output0", max_abs=1e-5, mean_abs=1e-6, cosine=1.0, max_abs_allowed=1e-3),),
            predictions_source=40,
            predictions_matched=40,
            max_confidence_difference=1e-6,
        ),
        provenance=mp.Provenance(
            checkpoint_sha256="ab" * 32,
            export_options={"opset_version": 18, "note": "``` <b>"},
            optimization={},
            toolchain={"torch": "2.14.1"},
        ),
        sizes=mp.Sizes(original_size_bytes=2_000_000, exported_size_bytes=1_000_000, compression_ratio=2.0),
        performance=mp.Performance(
            inference_latency_ms=1.5,
            throughput_fps=666.0,
            hardware="CPU|x",
            runtime="onnxruntime",
            source_latency_ms=3.0,
        ),
    )


def write_goldens(path: Path, metadata: mp.ModelMetadata, model: Path) -> None:
    """As the worker does."""
    pipeline = Pipeline.from_metadata(msgspec.to_builtins(metadata))
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names, runs = list(pipeline.output_names), []
    for number, shape in enumerate(SHAPES):
        image = np.random.default_rng(number).integers(60, 256, (*shape, 3), dtype=np.uint8)
        tensor, _ = pipeline.preprocess(image)
        runs.append(golden_examples.Run(image, dict(zip(names, session.run(names, {"images": tensor}), strict=True))))
    path.write_bytes(golden_examples.make(pipeline, runs, golden_examples.Apart(2e-3, 0.5, 0.02), 0.01))


def make_artefact(
    folder: Path,
    *,
    detects: bool = True,
    export_format: v.ExportFormat = v.ExportFormat.ONNX,
    names: tuple[str, ...] = HOSTILE,
) -> Artefact:
    metadata = make_metadata(detects=detects, export_format=export_format, names=names)
    files = {n: folder / n for n in (metadata.model_file, keys.PARITY_REPORT, keys.GOLDENS, keys.LOG)}
    reference = folder / "reference.onnx"
    onnx.save(detector_graph() if detects else classifier_graph(), reference)
    if export_format is v.ExportFormat.TORCHSCRIPT:
        files[metadata.model_file].write_bytes(torchscript_classifier())
    else:
        files[metadata.model_file].write_bytes(reference.read_bytes())
    write_goldens(files[keys.GOLDENS], metadata, reference)
    files[keys.PARITY_REPORT].write_text('{"proof": "verified"}')
    files[keys.LOG].write_text("step by step\n")
    return Artefact(metadata, files)


def torchscript_classifier() -> bytes:
    import io

    import torch

    class Means(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3))

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(Means().eval(), torch.zeros(1, 3, 32, 48)), buffer)
    return buffer.getvalue()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Artefact]:
    """Artefacts of other kinds, each in a folder of its own."""

    def made(**options: Any) -> Artefact:
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        return make_artefact(folder, **options)

    return made


@pytest.fixture
def artefact(make: Callable[..., Artefact]) -> Artefact:
    return make()


@pytest.fixture
def assemble(tmp_path: Path) -> Callable[[Artefact], Awaitable[Package]]:
    """The package of an artefact, on disk."""

    async def assembled(artefact: Artefact) -> Package:
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        return await export_package.assemble(artefact.metadata, artefact.sources(), folder)

    return assembled


@pytest.fixture
async def package(artefact: Artefact, assemble: Callable[[Artefact], Awaitable[Package]]) -> Package:
    return await assemble(artefact)


@pytest.fixture
def settings(nats_server: NatsServer, s3_server: S3Server, tmp_path: Path) -> Settings:
    """Of a packager beside real servers, without environments: what it packages is not verified."""
    s3 = s3_server.settings
    return Settings(
        nats_url=nats_server.url,
        s3_endpoint=s3.s3_endpoint,
        s3_access_key=s3.s3_access_key,
        s3_secret_key=s3.s3_secret_key,
        s3_bucket=s3.s3_bucket,
        port=free_ports(1)[0],
        work_dir=str(tmp_path / "work"),
        unverified_packages="accept",
    )


@pytest.fixture
def exported(
    object_store: ObjectStore, assemble: Callable[[Artefact], Awaitable[Package]]
) -> Callable[..., Awaitable[DeploymentRequestedV1]]:
    """An export whose package is stored; the request for one of its deployments."""

    async def request(artefact: Artefact, config: EdgePackageConfig | ContainerConfig = LINUX) -> DeploymentRequestedV1:
        job_id, package = uuid4(), await assemble(artefact)
        stored = await export_package.upload(object_store, job_id, package, _nothing)
        return DeploymentRequestedV1(
            deployment_id=uuid4(),
            export_job_id=job_id,
            generation=1,
            desired=v.DesiredState.ACTIVE,
            deployment_type=v.DeploymentType(config.__struct_config__.tag),
            name="field",
            config=config,
            export_format=artefact.metadata.model_info.export_format,
            model_version=3,
            model=stored.model,
            metadata=stored.metadata,
            access=Access(user_id=uuid4(), tier=v.Tier.FREE, key_digests=()),
        )

    return request


async def _nothing() -> None:
    pass
