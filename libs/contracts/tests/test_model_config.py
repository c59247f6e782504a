"""config.pbtxt to the letter, and the same configuration as JSON."""

from pathlib import Path

import msgspec
import pytest
from google.protobuf import json_format, text_format
from msgspec.structs import replace
from tritonclient.grpc import model_config_pb2

from contracts.deployment import PlatformEndpointConfig
from contracts.errors import Permanent
from contracts.events import DeploymentRequestedV1
from contracts.model_config import ModelConfig, build, warm_up_shape
from contracts.model_package import ModelMetadata, TensorSpec
from contracts.vocabulary import ExportFormat

GOLDEN = Path(__file__).parent / "golden_pbtxt"
REQUEST = Path(__file__).parent / "golden" / "deployment.targets.requested.v1.json"
NAME = "d-0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def metadata() -> ModelMetadata:
    """A classifier whose batch axes are free."""
    return replace(
        msgspec.json.decode(REQUEST.read_bytes(), type=DeploymentRequestedV1).metadata,
        input_spec=TensorSpec(name="images", shape=(-1, 3, 32, 32), dtype="float32", format="NCHW"),
        output_spec={"logits": TensorSpec(name="logits", shape=(-1, 3), dtype="float32", format="logits")},
    )


def made(metadata: ModelMetadata, endpoint: PlatformEndpointConfig | None = None, version: int = 1) -> ModelConfig:
    return build(
        NAME,
        metadata,
        endpoint or PlatformEndpointConfig(),
        export_format=ExportFormat.ONNX,
        version=version,
        threads=2,
    )


def fixed_detector(metadata: ModelMetadata) -> ModelMetadata:
    """uint8 pictures, batch 1, two outputs, one of a free length."""
    spec = TensorSpec(name='in"put', shape=(1, 640, 640, 3), dtype="uint8", format="NHWC")
    boxes = TensorSpec(name="boxes", shape=(1, -1, 4), dtype="float32", format="boxes")
    classes = TensorSpec(name="classes", shape=(1, -1), dtype="int64", format="classes")
    return replace(metadata, input_spec=spec, output_spec={"boxes": boxes, "classes": classes})


@pytest.fixture
def cases(metadata: ModelMetadata) -> dict[str, ModelConfig]:
    busy = PlatformEndpointConfig(max_batch_size=16, max_queue_delay_us=2000, instances=3)
    return {
        "dynamic_batch": made(metadata),
        "busy_endpoint": made(metadata, busy, version=7),
        "fixed_batch": made(fixed_detector(metadata), busy),
    }


@pytest.mark.parametrize("name", ["dynamic_batch", "busy_endpoint", "fixed_batch"])
def test_config_is_the_golden_one(cases: dict[str, ModelConfig], name: str) -> None:
    assert cases[name].to_pbtxt() == (GOLDEN / f"{name}.pbtxt").read_text()


@pytest.mark.parametrize("name", ["dynamic_batch", "busy_endpoint", "fixed_batch"])
def test_text_and_json_are_one_message_of_triton(cases: dict[str, ModelConfig], name: str) -> None:
    from_text = text_format.Parse(cases[name].to_pbtxt(), model_config_pb2.ModelConfig())
    from_json = json_format.Parse(cases[name].to_json(), model_config_pb2.ModelConfig())
    assert from_text == from_json
    assert from_text.input[0].name == cases[name].input[0].name


@pytest.mark.parametrize("fixed", ["input", "output"])
def test_one_fixed_batch_axis_switches_batching_off(metadata: ModelMetadata, fixed: str) -> None:
    if fixed == "input":
        metadata = replace(metadata, input_spec=replace(metadata.input_spec, shape=(1, 3, 32, 32)))
    else:
        spec = replace(metadata.output_spec["logits"], shape=(1, 3))
        metadata = replace(metadata, output_spec={"logits": spec})
    config = made(metadata)
    assert config.max_batch_size == 0
    assert config.dynamic_batching is None
    assert config.input[0].dims == metadata.input_spec.shape


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((-1, 3, 32, 32), (1, 3, 32, 32)),
        ((1, 3, 32, 32), (1, 3, 32, 32)),
        ((-1, 3, -1, -1), (1, 3, 48, 64)),
        ((-1, -1, -1, 3), (1, 48, 64, 3)),
    ],
)
def test_warm_up_shape_is_one_picture(
    metadata: ModelMetadata, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    resize = replace(metadata.preprocessing.resize, size=(48, 64))
    metadata = replace(
        metadata,
        input_spec=replace(metadata.input_spec, shape=shape),
        preprocessing=replace(metadata.preprocessing, resize=resize),
    )
    assert warm_up_shape(metadata) == expected


@pytest.mark.parametrize("export_format", set(ExportFormat) - {ExportFormat.ONNX})
def test_formats_that_are_not_served_are_refused_by_name(metadata: ModelMetadata, export_format: ExportFormat) -> None:
    with pytest.raises(Permanent) as caught:
        build(NAME, metadata, PlatformEndpointConfig(), export_format=export_format, version=1, threads=0)
    assert caught.value.code == "unsupported"
    assert export_format in caught.value.message
    assert "onnx" in caught.value.hint


def test_tensor_types_that_are_not_served_are_refused_by_name(metadata: ModelMetadata) -> None:
    with pytest.raises(Permanent, match="complex64"):
        made(replace(metadata, input_spec=replace(metadata.input_spec, dtype="complex64")))


def test_json_has_the_fields_of_the_message_alone(cases: dict[str, ModelConfig]) -> None:
    given = msgspec.json.decode(cases["fixed_batch"].to_json())
    assert set(given) <= {field.name for field in model_config_pb2.ModelConfig.DESCRIPTOR.fields}


def test_a_model_of_several_outputs_is_batched_where_all_of_them_are(metadata: ModelMetadata) -> None:
    rows = TensorSpec(name="output0", shape=(-1, 116, 8400), dtype="float32", format="raw")
    prototypes = TensorSpec(name="output1", shape=(-1, 32, 160, 160), dtype="float32", format="prototypes")
    outputs = {"output0": rows, "output1": prototypes}
    config = made(replace(metadata, output_spec=outputs))
    assert [(output.name, output.dims) for output in config.output] == [
        ("output0", (116, 8400)),
        ("output1", (32, 160, 160)),
    ]
    assert config.max_batch_size > 0
    fixed = made(replace(metadata, output_spec=outputs | {"output1": replace(prototypes, shape=(1, 32, 160, 160))}))
    assert fixed.max_batch_size == 0
    assert [output.dims for output in fixed.output] == [(-1, 116, 8400), (1, 32, 160, 160)]


def test_an_image_leaves_threads_and_processor_to_the_machine_that_runs_it(metadata: ModelMetadata) -> None:
    config = build(
        "model", metadata, PlatformEndpointConfig(), export_format=ExportFormat.ONNX, version=1, kind="KIND_AUTO"
    )
    text = config.to_pbtxt()
    assert "intra_op_thread_count" not in text
    assert "instance_group [ { kind: KIND_AUTO count: 1 } ]" in text
    parsed = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert parsed == json_format.Parse(config.to_json(), model_config_pb2.ModelConfig())
