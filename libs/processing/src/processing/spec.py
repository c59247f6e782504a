"""metadata.json read into frozen dataclasses; what this code does not know is refused by the name of its field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from processing.decoders import DECODERS, Decoder, Kind
from processing.errors import MetadataError
from processing.geometry import CROP_OFFSETS, METHODS, Resize
from processing.kernels import REFERENCE

SCHEMA_VERSION = 1
MAX_SIDE = 4096
MAX_DETECTIONS = 3000
MAX_TOP_K = 1000
MAX_POINTS = 1000
T = TypeVar("T")
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Normalize:
    """`(u8 * scale - mean) / std`; `embedded`: the graph does it and takes uint8."""

    scale: float
    mean: Triple
    std: Triple
    embedded: bool


@dataclass(frozen=True)
class TensorFormat:
    """Layout NCHW or NHWC, colour order RGB or BGR, and whether EXIF orientation is applied to pictures."""

    layout: str
    color_space: str
    dtype: str
    exif: bool


@dataclass(frozen=True)
class Post:
    """Decoder and default thresholds; `nms_embedded`: the graph suppresses, its thresholds bound what can be asked for."""

    decoder: str
    confidence: float
    iou: float
    max_detections: int
    nms_enabled: bool
    nms_embedded: bool
    class_agnostic: bool
    top_k: int
    keypoint_shape: tuple[int, int] | None = None

    @property
    def traits(self) -> Decoder:
        """The decoder's row of the table."""
        return DECODERS[self.decoder]

    @property
    def detects(self) -> bool:
        """Whether predictions are objects with boxes, chosen by a confidence threshold."""
        return self.traits.kind is Kind.OBJECTS


@dataclass(frozen=True)
class Section:
    """One object of the metadata and its path, for messages."""

    values: Mapping[str, object]
    path: str

    def section(self, name: str) -> Section:
        value = self._get(name)
        if not isinstance(value, Mapping):
            raise MetadataError(self.field(name), "must be an object")
        return Section(value, self.field(name))

    def field(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def one_of(self, name: str, known: Iterable[T], default: T | None = None) -> T:
        value, choices = self._get(name, default), tuple(known)
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        raise MetadataError(self.field(name), f"{value!r} is unknown; known: {', '.join(map(str, choices))}")

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str):
            raise MetadataError(self.field(name), "must be a string")
        return value

    def number(self, name: str, default: float, low: float = -1e30, high: float = 1e30) -> float:
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise MetadataError(self.field(name), f"must be a number from {low:g} to {high:g}, not {value!r}")
        return float(value)

    def integer(self, name: str, default: int, low: int, high: int = 2**31) -> int:
        value = self.number(name, default, low, high)
        if not value.is_integer():
            raise MetadataError(self.field(name), f"must be an integer, not {value!r}")
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        return self.one_of(name, (True, False), default)

    def size(self, name: str) -> tuple[int, int]:
        value = self._get(name)
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise MetadataError(self.field(name), "must be [height, width]")
        pair = Section({"0": value[0], "1": value[1]}, self.field(name))
        return pair.integer("0", 0, 1, MAX_SIDE), pair.integer("1", 0, 1, MAX_SIDE)

    def triple(self, name: str, default: Triple) -> Triple:
        value = self._get(name, default)
        if not isinstance(value, (list, tuple)) or len(value) != 3:
            raise MetadataError(self.field(name), "must be three numbers")
        parts = Section(dict(zip("012", value, strict=True)), self.field(name))
        return parts.number("0", 0), parts.number("1", 0), parts.number("2", 0)

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def _get(self, name: str, default: object = None) -> object:
        value = self.values.get(name, default)
        if value is None and default is None:
            raise MetadataError(self.field(name), "is missing")
        return value


def check_version(root: Section) -> None:
    """Raises MetadataError for any schema but v1."""
    root.one_of("schema_version", (SCHEMA_VERSION,))


def read_resize(pre: Section) -> Resize:
    """`preprocessing.resize`."""
    part = pre.section("resize")
    return Resize(
        method=part.one_of("method", METHODS),
        size=part.size("size"),
        kernel=part.one_of("kernel", REFERENCE),
        resize_to=part.size("resize_to") if part.has("resize_to") else None,
        fill_value=part.integer("fill_value", 114, 0, 255),
        scale_up=part.flag("scale_up", True),
        center=part.flag("center", True),
        crop_offset=part.one_of("crop_offset", CROP_OFFSETS, "round"),
    )


def read_normalize(pre: Section) -> Normalize:
    """`preprocessing.normalize`."""
    part = pre.section("normalize")
    part.one_of("method", ("standard",), "standard")
    std = part.triple("std", (1.0, 1.0, 1.0))
    if 0.0 in std:
        raise MetadataError(part.field("std"), "must not be zero")
    mean = part.triple("mean", (0.0, 0.0, 0.0))
    return Normalize(part.number("scale", 1 / 255), mean, std, part.flag("embedded", False))


def read_format(pre: Section, *, embedded: bool) -> TensorFormat:
    """`preprocessing.format`; the tensor is uint8 exactly where the graph normalises."""
    part = pre.section("format")
    part.one_of("input_layout", ("HWC",), "HWC")
    return TensorFormat(
        layout=part.one_of("output_layout", ("NCHW", "NHWC"), "NCHW"),
        color_space=part.one_of("color_space", ("RGB", "BGR"), "RGB"),
        dtype=part.one_of("dtype", ("uint8",) if embedded else ("float32",), "uint8" if embedded else "float32"),
        exif=part.one_of("exif_orientation", ("applied", "ignored"), "applied") == "applied",
    )


def read_post(root: Section) -> Post:
    """`postprocessing`, and what its decoder asks of the rest."""
    part = root.section("postprocessing")
    nms = part.section("nms")
    return Post(
        decoder=part.one_of("decoder", DECODERS),
        confidence=nms.number("confidence_threshold", 0.25, 0, 1),
        iou=nms.number("iou_threshold", 0.45, 0, 1),
        max_detections=nms.integer("max_detections", 300, 1, MAX_DETECTIONS),
        nms_enabled=nms.flag("enabled", False),
        nms_embedded=nms.flag("embedded", False),
        class_agnostic=nms.flag("class_agnostic", False),
        top_k=part.integer("top_k", 5, 1, MAX_TOP_K),
        keypoint_shape=_keypoint_shape(part),
    )


def _keypoint_shape(part: Section) -> tuple[int, int] | None:
    if not part.has("keypoint_shape"):
        return None
    value = part.values["keypoint_shape"]
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise MetadataError(part.field("keypoint_shape"), "must be [points, numbers per point]")
    pair = Section({"0": value[0], "1": value[1]}, part.field("keypoint_shape"))
    return pair.integer("0", 0, 1, MAX_POINTS), pair.integer("1", 0, 2, 3)


def check_decoder(post: Post, resize: Resize, outputs: tuple[str, ...]) -> None:
    """Raises MetadataError where the decoder needs what the rest of the metadata does not give."""
    traits = post.traits
    if len(outputs) < traits.outputs:
        raise MetadataError("output_spec", f"{post.decoder} needs {traits.outputs} outputs, not {len(outputs)}")
    if traits.keypoints and post.keypoint_shape is None:
        raise MetadataError("postprocessing.keypoint_shape", f"is missing, which {post.decoder} needs")
    centred = resize.method == "letterbox" and resize.center and resize.scale_up
    if traits.masks and traits.kind is Kind.OBJECTS and not centred:
        raise MetadataError("preprocessing.resize", f"{post.decoder} needs a centred letterbox that may enlarge")


def read_classes(root: Section) -> dict[int, str]:
    """Class id to name."""
    value = root.values.get("classes")
    if not isinstance(value, (list, tuple)):
        raise MetadataError("classes", "must be a list")
    entries = [Section(entry if isinstance(entry, Mapping) else {}, f"classes[{i}]") for i, entry in enumerate(value)]
    return {entry.integer("id", -1, 0): entry.text("name") for entry in entries}


def read_outputs(root: Section) -> tuple[str, ...]:
    """Names of the model's outputs, in the order of `output_spec`."""
    part = root.section("output_spec")
    if not part.values:
        raise MetadataError("output_spec", "must name at least one output")
    return tuple(part.section(key).text("name") for key in part.values)
