"""metadata.json, schema v1: everything that a program needs to run an exported model exactly as its trainer did.

The arithmetic, in this order and in float32 unless a kernel says otherwise:
picture RGB uint8 -> resize (`kernel`) -> crop or pad -> `(u8 * scale - mean) / std` -> layout -> model -> decoder -> confidence filter
(`score > confidence_threshold`) -> class-aware NMS (`iou > iou_threshold` suppresses) -> `max_detections` -> boxes in source pixels.

It is written by a process that ran a stranger's checkpoint and read by services that all users share, so every number, list and
name in it is bounded: a picture cannot be made giant by a size, an answer not by a count, a terminal not be written to by a name.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, json

from contracts.vocabulary import (
    Decoder,
    ExportFormat,
    Framework,
    Kernel,
    Precision,
    Proof,
    ResizeMethod,
    TaskType,
    WrapperLanguage,
    WrapperProof,
)

SCHEMA_VERSION: Final = 1

PRINTABLE: Final = "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]*(?![\\s\\S])"
"""No control, line separator or direction character: text that can be shown, stored and put into a header.

It ends in a lookahead because Python's `$` lets one line break through.
"""

Positive = Annotated[int, Meta(gt=0, lt=2**31)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Side = Annotated[int, Meta(gt=0, le=4096)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Measure = Annotated[float, Meta(ge=-1e30, le=1e30)]
Factor = Annotated[float, Meta(ge=-1e6, le=1e6)]
Name = Annotated[str, Meta(max_length=256, pattern=PRINTABLE)]
Text = Annotated[str, Meta(max_length=1000, pattern=PRINTABLE)]
Sha256 = Annotated[str, Meta(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")]
Dimension = Annotated[int, Meta(ge=-1, lt=2**31)]
Triple = tuple[Factor, Factor, Factor]


class Section(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A part of metadata.json; unknown fields are tolerated, so that older readers read newer packages."""


class ModelInfo(Section, frozen=True, kw_only=True):
    framework: Framework
    task_type: TaskType
    model_name: Name
    export_format: ExportFormat
    version: Positive = 1


class Resize(Section, frozen=True, kw_only=True):
    """`size` and `resize_to` are [height, width] in pixels."""

    method: ResizeMethod
    size: tuple[Side, Side]
    kernel: Kernel
    resize_to: tuple[Side, Side] | None = None
    """stretch_crop: the size before the cut; short_side_crop: the short side, given twice."""
    fill_value: Annotated[int, Meta(ge=0, le=255)] = 114
    scale_up: bool = True
    """letterbox: whether a picture smaller than `size` is enlarged."""
    center: bool = True
    """letterbox: padding on both sides (True) or right and bottom only (False)."""
    crop_offset: Literal["round", "truncate"] = "round"
    """Where half a pixel goes when the centre is cut out: rounded to even as torchvision does, or cut off as Hugging Face does."""
    stride: Side = 32


class Normalize(Section, frozen=True, kw_only=True):
    """`(u8 * scale - mean) / std` in float32; `embedded` says that the graph does it and takes uint8."""

    method: Literal["standard"] = "standard"
    scale: Factor = 1 / 255
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    embedded: bool = False


class TensorFormat(Section, frozen=True, kw_only=True):
    """What the wrapper reads and what it gives to the model."""

    input_layout: Literal["HWC"] = "HWC"
    output_layout: Literal["NCHW", "NHWC"] = "NCHW"
    color_space: Literal["RGB", "BGR"] = "RGB"
    dtype: Literal["float32", "uint8"] = "float32"
    exif_orientation: Literal["applied", "ignored"] = "applied"


class Preprocessing(Section, frozen=True, kw_only=True):
    resize: Resize
    normalize: Normalize
    format: TensorFormat


class Nms(Section, frozen=True, kw_only=True):
    """`embedded` says that the graph suppresses already; then its own thresholds bound what can be asked for."""

    enabled: bool = False
    embedded: bool = False
    iou_threshold: Fraction = 0.45
    confidence_threshold: Fraction = 0.25
    max_detections: Annotated[int, Meta(gt=0, le=3000)] = 300
    class_agnostic: bool = False


class OutputFormat(Section, frozen=True, kw_only=True):
    bbox_format: Literal["xyxy"] | None = None
    coordinates: Literal["absolute"] | None = None


class Postprocessing(Section, frozen=True, kw_only=True):
    decoder: Decoder
    nms: Nms
    output_format: OutputFormat
    top_k: Annotated[int, Meta(gt=0, le=1000)] = 5
    """Classification: how many classes a prediction lists."""
    keypoint_shape: tuple[Annotated[int, Meta(gt=0, le=1000)], Literal[2, 3]] | None = None
    """Pose: points of an object and numbers per point (x, y, and where there are three, visibility)."""


class TensorSpec(Section, frozen=True, kw_only=True):
    """One input or output, read from the exported model; -1 is a dynamic dimension."""

    name: Name
    shape: Annotated[tuple[Dimension, ...], Meta(max_length=8)]
    dtype: Annotated[str, Meta(pattern="^[a-z0-9]{1,32}(?![\\s\\S])")]
    format: Name
    description: Text = ""


class ModelClass(Section, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, lt=2**31)]
    name: Name


class Performance(Section, frozen=True, kw_only=True):
    """Measured by the job itself, on the machine that it names, with the artefact's own runtime."""

    inference_latency_ms: Measure
    throughput_fps: Measure
    hardware: Name
    runtime: Name
    batch_size: Positive = 1
    source_latency_ms: Measure | None = None


class OutputParity(Section, frozen=True, kw_only=True):
    """One output tensor of the artefact against the source, over all parity inputs."""

    name: Name
    max_abs: Measure
    mean_abs: Measure
    cosine: Measure
    max_abs_allowed: Measure


class ParitySummary(Section, frozen=True, kw_only=True):
    """`min_iou` and `matched_fraction` speak of final predictions; see parity_report.json for each input."""

    proof: Proof
    inputs: Count
    non_square_inputs: Count
    outputs: tuple[OutputParity, ...]
    predictions_source: Count
    predictions_matched: Count
    max_confidence_difference: Measure
    min_iou: Measure | None = None
    max_box_difference_px: Measure | None = None
    min_mask_iou: Measure | None = None
    max_keypoint_difference_px: Measure | None = None


class FileDigest(Section, frozen=True, kw_only=True):
    path: Name
    sha256: Sha256
    size_bytes: Count


class Provenance(Section, frozen=True, kw_only=True):
    """What this artefact was made from and with; nothing here depends on the clock."""

    checkpoint_sha256: Sha256
    export_options: Annotated[dict[str, object], Meta(max_length=64)]
    optimization: Annotated[dict[str, object], Meta(max_length=64)]
    toolchain: Annotated[dict[Name, Name], Meta(max_length=64)]
    route: Annotated[tuple[Name, ...], Meta(max_length=8)] = ()
    """The forms on the way from the checkpoint to the artefact, such as torch, onnx, openvino."""
    rewrites: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    """Named changes to the model's graph that keep its answers and that the target needs."""
    signing_key_id: Annotated[str, Meta(pattern="^([0-9a-f]{64})?(?![\\s\\S])")] = ""
    """The key that signs the package; empty: the package is unsigned."""


class Sizes(Section, frozen=True, kw_only=True):
    """Bytes of the source weights and of the artefact."""

    original_size_bytes: Count
    exported_size_bytes: Count
    compression_ratio: Measure


class GraphSummary(Section, frozen=True, kw_only=True):
    """The artefact's graph as counts, so that two exports can be compared without their runtimes."""

    operators: Annotated[dict[Name, Count], Meta(max_length=1000)]
    """How often each kind of operator is there, by the format's own names."""
    parameters: Count
    """Numbers in constant tensors, whatever their type."""


class WrapperStatus(Section, frozen=True, kw_only=True):
    """What was proved about one language's wrapper of this package; `detail` says by what, or why no more."""

    proof: WrapperProof
    detail: Text


class ModelMetadata(Section, frozen=True, kw_only=True):
    """The whole of metadata.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model_info: ModelInfo
    model_file: Name
    precision: Precision = Precision.FP32
    portability: Text = ""
    """Which machines can load the model, where not every machine with its runtime can."""
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    input_spec: TensorSpec
    output_spec: Annotated[dict[Name, TensorSpec], Meta(min_length=1, max_length=64)]
    classes: Annotated[tuple[ModelClass, ...], Meta(max_length=32_768)]
    parity: ParitySummary
    provenance: Provenance
    sizes: Sizes
    performance: Performance | None = None
    graph: GraphSummary | None = None
    runtime_wrappers: Annotated[dict[Name, Name], Meta(max_length=64)] = {}
    """Language to the file where its wrapper begins."""
    wrapper_proofs: dict[WrapperLanguage, WrapperStatus] = {}
    files: Annotated[tuple[FileDigest, ...], Meta(max_length=1024)] = ()


def any_json(kind: type) -> dict[str, object]:
    """Schema hook: a field typed `object` holds any JSON value."""
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(kind)  # how a hook tells msgspec that the type is not its own


def metadata_json_schema() -> dict[str, object]:
    """JSON Schema (2020-12) of metadata.json."""
    schema: dict[str, object] = json.schema(ModelMetadata, schema_hook=any_json)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Modelport metadata.json v1", **schema}
