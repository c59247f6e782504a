"""What a LiteRT model says of itself, in the convention of TensorFlow Lite Metadata: a flatbuffer about its tensors in one of the
model's buffers, and files in a zip archive behind the model, which unzips as it is.

Slots of the tables: https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flatbuffers
import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from contracts import labels
from contracts.model_package import Preprocessing, TensorSpec

FIELD, IDENTIFIER = b"TFLITE_METADATA", b"M001"
LABELS, IDENTITY, CONVENTIONAL = "labels.txt", "modelport.json", "metadata.json"
MODEL_IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Of every buffer, as the schema demands and the schema's own Python code forgets."""
AXIS_LABELS, IMAGE, RGB, NORMALIZATION = 2, 2, 1, 1
"""Members of AssociatedFileType, ContentProperties, ColorSpaceType and ProcessUnitOptions."""
FIRST_PARSER = "1.0.0"


class _Builder(flatbuffers.Builder):
    """Keeps vectors of bytes aligned, in which weights lie."""

    def StartVector(self, *given: int) -> Any:  # noqa: N802  # the name that the base class calls
        size, count, alignment = given
        return super().StartVector(size, count, ALIGNMENT if size == 1 else alignment)

    def table(self, fields: Mapping[int, tuple[str, Any]]) -> int:
        """A table of slot -> (kind, value); kinds are the builder's Prepend…Slot."""
        self.StartObject(max(fields) + 1)
        for slot, (kind, value) in fields.items():
            getattr(self, f"Prepend{kind}Slot")(slot, value, 0)
        return int(self.EndObject())

    def offsets(self, values: Sequence[int]) -> int:
        self.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.PrependUOffsetTRelative(value)
        return int(self.EndVector())

    def text(self, value: str) -> tuple[str, int]:
        return "UOffsetTRelative", int(self.CreateString(value))

    def floats(self, values: Sequence[float]) -> tuple[str, int]:
        return "UOffsetTRelative", int(self.CreateNumpyVector(np.array(values, np.float32)))


class Told(NamedTuple):
    """What a model says of itself: our own words, those that Ultralytics' readers look for, and the names of its classes."""

    identity: Mapping[str, str]
    conventional: Mapping[str, object]
    classes: Sequence[str]


def with_metadata(
    model: bytes,
    told: Told,
    preprocessing: Preprocessing,
    input_spec: TensorSpec,
    output_specs: Sequence[TensorSpec],
) -> bytes:
    """The model with its metadata and, behind it, metadata.json, labels.txt (one class a line) and modelport.json."""
    described = schema.ModelT.InitFromPackedBuf(model, 0)
    for each in described.buffers:
        # the quantizer writes weights behind the flatbuffer, where they would not be found again
        if each.offset > 1:
            each.data = np.frombuffer(model, np.uint8, each.size, each.offset)
            each.offset = each.size = 0
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_metadata(told.identity, preprocessing, input_spec, output_specs), np.uint8)
    entry.name, entry.buffer = FIELD, len(described.buffers)
    described.buffers.append(buffer)
    described.metadata = [*(described.metadata or []), entry]
    described.description = "Modelport"
    builder = _Builder(len(model) + len(buffer.data) + 4096)
    builder.Finish(described.Pack(builder), file_identifier=MODEL_IDENTIFIER)
    archive = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as files:
        files.writestr(zipfile.ZipInfo(CONVENTIONAL), msgspec.json.encode(dict(told.conventional)))
        files.writestr(zipfile.ZipInfo(LABELS), labels.as_text(dict(enumerate(told.classes))))
        files.writestr(zipfile.ZipInfo(IDENTITY), msgspec.json.encode(dict(told.identity), order="sorted"))
    return archive.getvalue()


def _metadata(
    identity: Mapping[str, str],
    preprocessing: Preprocessing,
    input_spec: TensorSpec,
    output_specs: Sequence[TensorSpec],
) -> bytes:
    made = _Builder(4096)
    inputs = made.offsets([_image(made, preprocessing, input_spec)])
    outputs = made.offsets([_tensor(made, spec) for spec in output_specs])
    files = made.offsets([
        made.table({0: made.text(LABELS), 1: made.text("class names, one a line"), 2: ("Int8", AXIS_LABELS)}),
        made.table({0: made.text(IDENTITY), 1: made.text("task, classes, thresholds, input contract, checkpoint digest")}),
    ])  # fmt: skip
    graph = made.table({2: ("UOffsetTRelative", inputs), 3: ("UOffsetTRelative", outputs)})
    about = f"{identity['modelport.framework']} {identity['modelport.task']}, checkpoint {identity['modelport.checkpoint_sha256']}"
    root = made.table({
        0: made.text(identity["modelport.model_name"]),
        1: made.text(about),
        3: ("UOffsetTRelative", made.offsets([graph])),
        6: ("UOffsetTRelative", files),
        7: made.text(FIRST_PARSER),
    })  # fmt: skip
    made.Finish(root, file_identifier=IDENTIFIER)
    return bytes(made.Output())


def _image(made: _Builder, preprocessing: Preprocessing, spec: TensorSpec) -> int:
    """The input: an RGB picture and, unless the graph does it itself, how its bytes become numbers: (byte - mean) / std."""
    colours = {0: ("Int8", RGB)} if preprocessing.format.color_space == "RGB" else {}
    content = made.table({0: ("Uint8", IMAGE), 1: ("UOffsetTRelative", made.table({0: ("Int8", 0), **colours}))})
    more: dict[int, tuple[str, Any]] = {3: ("UOffsetTRelative", content)}
    normalize = preprocessing.normalize
    if not normalize.embedded:
        mean = made.floats([value / normalize.scale for value in normalize.mean])
        std = made.floats([value / normalize.scale for value in normalize.std])
        options = made.table({0: mean, 1: std})
        unit = made.table({0: ("Uint8", NORMALIZATION), 1: ("UOffsetTRelative", options)})
        more[4] = ("UOffsetTRelative", made.offsets([unit]))
    return _tensor(made, spec, more)


def _tensor(made: _Builder, spec: TensorSpec, more: Mapping[int, tuple[str, Any]] | None = None) -> int:
    return made.table({0: made.text(spec.name), 1: made.text(f"{spec.format}: {spec.description}"), **(more or {})})
