"""A checkpoint for the stand-in converter: an archive of the artefacts of a tiny classifier that can really be served."""

import zipfile
from pathlib import Path

import msgspec
import onnxruntime
from onnx import TensorProto, helper

from contracts import keys
from contracts.model_package import (
    ModelClass,
    ModelInfo,
    ModelMetadata,
    Nms,
    Normalize,
    OutputFormat,
    ParitySummary,
    Postprocessing,
    Preprocessing,
    Provenance,
    Resize,
    Sizes,
    TensorFormat,
    TensorSpec,
)
from contracts.vocabulary import Decoder, ExportFormat, Framework, Kernel, Proof, ResizeMethod, TaskType
from processing import golden_examples, goldens
from processing.pipeline import Pipeline

SIDE = 32
CLASSES = ("red", "green", "blue")
OPSET, IR = 17, 8


def write(path: Path) -> None:
    """Model, metadata, report and golden vectors of a net that tells a picture's strongest colour."""
    model, metadata = _model(), _metadata()
    parts = {
        keys.MODEL_FILES[ExportFormat.ONNX]: model,
        keys.METADATA: msgspec.json.encode(metadata),
        keys.PARITY_REPORT: b'{"proof": "verified"}',
        keys.GOLDENS: _goldens(model, metadata),
    }
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in parts.items():
            opened.writestr(name, content)


def _goldens(model: bytes, metadata: ModelMetadata) -> bytes:
    pipeline = Pipeline.from_metadata(msgspec.to_builtins(metadata))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = list(pipeline.output_names)
    picture = goldens.draw("noise", SIDE, 2 * SIDE, 1)
    answers = session.run(names, {pipeline.input_name: pipeline.preprocess(picture)[0]})
    run = golden_examples.Run(picture, dict(zip(names, answers, strict=True)))
    return golden_examples.make(pipeline, [run], golden_examples.Apart(2e-3, 0.5, 0.02), 0.01)


def _model() -> bytes:
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, len(CLASSES)])
    graph = helper.make_graph(nodes, "colours", [picture], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return bytes(model.SerializeToString())


def _metadata() -> ModelMetadata:
    return ModelMetadata(
        model_info=ModelInfo(
            framework=Framework.TIMM,
            task_type=TaskType.IMAGE_CLASSIFICATION,
            model_name="colours",
            export_format=ExportFormat.ONNX,
        ),
        model_file=keys.MODEL_FILES[ExportFormat.ONNX],
        preprocessing=Preprocessing(
            resize=Resize(
                method=ResizeMethod.STRETCH_CROP, size=(SIDE, SIDE), resize_to=(SIDE, SIDE), kernel=Kernel.PIL_BILINEAR
            ),
            normalize=Normalize(),
            format=TensorFormat(),
        ),
        postprocessing=Postprocessing(decoder=Decoder.SOFTMAX, nms=Nms(), output_format=OutputFormat(), top_k=3),
        input_spec=TensorSpec(name="images", shape=(1, 3, SIDE, SIDE), dtype="float32", format="NCHW"),
        output_spec={"scores": TensorSpec(name="scores", shape=(1, len(CLASSES)), dtype="float32", format="scores")},
        classes=tuple(ModelClass(id=number, name=name) for number, name in enumerate(CLASSES)),
        parity=ParitySummary(
            proof=Proof.VERIFIED,
            inputs=1,
            non_square_inputs=0,
            outputs=(),
            predictions_source=1,
            predictions_matched=1,
            max_confidence_difference=0.0,
        ),
        provenance=Provenance(checkpoint_sha256="0" * 64, export_options={}, optimization={}, toolchain={}),
        sizes=Sizes(original_size_bytes=1, exported_size_bytes=1, compression_ratio=1.0),
    )
