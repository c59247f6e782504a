"""README.md of one package: this very model, its input, thresholds, classes, parity, size and speed, as measured."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from importlib.resources import files
from string import Template

import msgspec

from contracts.model_package import ModelMetadata, Nms, TensorSpec
from contracts.vocabulary import Decoder, ExportFormat, Precision, Proof
from processing.decoders import DECODERS, Kind

CLASSES_SHOWN = 100
_TEXT_SHOWN = 120
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#!|~$&@]|(?<=www)\.|:(?=//)", re.IGNORECASE)
MASK = (
    "`mask` with the pixels as COCO's uncompressed run lengths (`size` height and width, `counts` down the columns, pixels "
    "outside first; `processing.masks.Mask(size, counts).array()` gives them back)"
)
POINTS = "`keypoints` with x, y and confidence of each point, in pixels of the picture given"
ROTATED = "`rotated_box` with centre, width, height and angle in radians; `bbox` is the upright box around it"
ADDS: dict[Decoder, str] = {
    Decoder.YOLO_V8_SEGMENT: MASK,
    Decoder.YOLO_END2END_SEGMENT: MASK,
    Decoder.YOLO_V8_POSE: POINTS,
    Decoder.YOLO_END2END_POSE: POINTS,
    Decoder.YOLO_V8_OBB: ROTATED,
    Decoder.YOLO_END2END_OBB: ROTATED,
    Decoder.SEMANTIC_LOGITS: MASK,
}
"""What a prediction has beside class, confidence and box."""
NEEDS: dict[ExportFormat, str] = {
    ExportFormat.COREML: "`runtimes/python` runs this model on macOS alone; on iOS open `model.mlpackage` in Xcode.",
    ExportFormat.TENSORRT: (
        "This engine runs on the kind of GPU and with the release of TensorRT that it was built for; see `provenance` in `metadata.json`."
    ),
    ExportFormat.OPENVINO: "The model is `model.xml` with its weights `model.bin` beside it; keep them together.",
}
"""What whoever runs a format must know."""
PROOFS: dict[Proof, str] = {
    Proof.VERIFIED: "this file was run on its own runtime and compared with the source model",
    Proof.EVALUATED: "its program was run by a reference evaluator, not by the vendor's runtime",
    Proof.BUILT: "converted and structurally checked; nothing where it was built could run it",
    Proof.FAILED: "it does not reproduce its source model",
}


PRECISIONS: dict[Precision, str] = {
    Precision.FP32: "float32 weights and arithmetic",
    Precision.FP16: "float16 weights; the runtime computes in float16 or converts them back",
    Precision.INT8_WEIGHTS: "int8 weights, converted back to float before they are used",
    Precision.INT8_DYNAMIC: "int8 weights, activations quantised while the model runs",
}


def render(metadata: ModelMetadata) -> str:
    """The text; names given by users are escaped, so that they are shown and not obeyed."""
    template = Template((files("packager") / "templates" / "README.md").read_text(encoding="utf-8"))
    info, performance = metadata.model_info, metadata.performance
    return template.substitute(
        name=escape(info.model_name),
        version=info.version,
        framework=info.framework,
        task=str(info.task_type).replace("_", " "),
        export_format=info.export_format,
        precision=PRECISIONS[metadata.precision],
        needs=NEEDS.get(info.export_format, ""),
        route=_route(metadata),
        proof=metadata.parity.proof,
        proof_meaning=PROOFS[metadata.parity.proof],
        model_file=metadata.model_file,
        input_table=_input_table(metadata),
        output_table=_table(("output", "shape", "type", "layout"), map(_output_row, metadata.output_spec.values())),
        result=result(metadata),
        classes=_classes(metadata),
        parity=_parity(metadata),
        sizes=_sizes(metadata),
        speed="Not measured." if performance is None else _speed(metadata),
        checkpoint=metadata.provenance.checkpoint_sha256,
        options=code_block(msgspec.to_builtins(metadata.provenance.export_options)),
        signature=_signature(metadata),
        toolchain=_table(("tool", "release"), sorted(metadata.provenance.toolchain.items())),
    )


def notice() -> str:
    """NOTICE.txt: whose the files are."""
    return (files("packager") / "templates" / "NOTICE.txt").read_text(encoding="utf-8")


def escape(text: object) -> str:
    """One line of Markdown that shows the text literally: no markup, no HTML, no control or direction characters."""
    plain = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    plain = " ".join(plain.split())
    if len(plain) > _TEXT_SHOWN:
        plain = plain[: _TEXT_SHOWN - 1] + "…"
    return _MARKUP.sub(r"\\\g<0>", plain) or "(empty)"


def code_block(value: object) -> str:
    """A JSON block that its own content cannot close."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode().replace("`", "\\u0060")
    return f"```json\n{text}\n```"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([escape(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _route(metadata: ModelMetadata) -> str:
    """By which forms the checkpoint became this file, and what was changed on the way."""
    made = metadata.provenance
    told = " → ".join(f"`{escape(form)}`" for form in made.route) or f"`{metadata.model_info.export_format}`"
    if not made.rewrites:
        return f"Route: {told}."
    rewrites = ", ".join(escape(name) for name in made.rewrites)
    return f"Route: {told}. Parts of the model were rewritten for it, with the same answers: {rewrites}."


def _signature(metadata: ModelMetadata) -> str:
    """Whether the package is signed and by which key, and how that is checked."""
    key_id = metadata.provenance.signing_key_id
    if not key_id:
        return "**This package is unsigned**: nothing in it shows who made it, or that nobody changed it."
    return (
        f"Signed by the key `{key_id}`. `modelport verify` checks the signature, every file and the golden vectors without any "
        "network, if you have that key from whom you trust (`modelport keys --save`). `provenance/` holds the bill of materials "
        "(CycloneDX), the statement of how the model was made (in-toto, SLSA) and the signature (OpenSSF model signing)."
    )


def _input_table(metadata: ModelMetadata) -> str:
    pre, spec = metadata.preprocessing, metadata.input_spec
    normal = pre.normalize
    arithmetic = f"(byte * {normal.scale:.10g} - {_numbers(normal.mean)}) / {_numbers(normal.std)}"
    rows = [
        ("tensor", f"{spec.name}: {_shape(spec)} {spec.dtype}, {pre.format.output_layout}, {pre.format.color_space}"),
        ("picture size", f"{pre.resize.size[0]} x {pre.resize.size[1]} (height x width)"),
        ("resize", f"{pre.resize.method}, kernel {pre.resize.kernel}"),
        ("normalisation", ("inside the model: " if normal.embedded else "") + arithmetic),
        ("EXIF orientation", pre.format.exif_orientation),
    ]
    return _table(("input", "value"), rows)


def _output_row(spec: TensorSpec) -> tuple[str, ...]:
    return spec.name, _shape(spec), spec.dtype, spec.format


def result(metadata: ModelMetadata) -> str:
    """What the wrapper makes of the outputs, in a sentence."""
    post = metadata.postprocessing
    kind = DECODERS[post.decoder].kind
    adds = ADDS.get(post.decoder, "")
    if kind is Kind.CLASSES:
        return f"Decoder `{post.decoder}`: the {post.top_k} likeliest classes with their probabilities."
    if kind is Kind.REGIONS:
        return f"Decoder `{post.decoder}`: one prediction for each class in the picture, the largest first, {adds}."
    return f"Decoder `{post.decoder}`: {_boxes(post.nms)}{adds and ', ' + adds}."


def _boxes(nms: Nms) -> str:
    if nms.embedded:
        suppression = f"suppression inside the model, overlap above {nms.iou_threshold:g}"
    elif nms.enabled:
        suppression = f"suppression per class where the overlap is above {nms.iou_threshold:g}"
    else:
        suppression = "no suppression needed"
    return (
        f"boxes `x1 y1 x2 y2` in pixels of the picture given, confidence above "
        f"{nms.confidence_threshold:g}, {suppression}, at most {nms.max_detections} per picture"
    )


def _classes(metadata: ModelMetadata) -> str:
    shown = metadata.classes[:CLASSES_SHOWN]
    table = _table(("id", "class"), [(c.id, c.name) for c in shown])
    rest = len(metadata.classes) - len(shown)
    return table + (f"\n\n… and {rest} more, see `metadata.json`." if rest else "")


def _parity(metadata: ModelMetadata) -> str:
    parity = metadata.parity
    outputs = _table(
        ("output", "max. difference", "allowed", "mean difference", "cosine"),
        [
            (o.name, f"{o.max_abs:.3g}", f"{o.max_abs_allowed:.3g}", f"{o.mean_abs:.3g}", f"{o.cosine:.9f}")
            for o in parity.outputs
        ],
    )
    lines = [
        f"- {parity.inputs} inputs, {parity.non_square_inputs} of them not square",
        f"- predictions of the source found again: {parity.predictions_matched} of {parity.predictions_source}",
        f"- largest difference of a confidence: {parity.max_confidence_difference:.3g}",
    ]
    if parity.min_iou is not None:
        lines.append(f"- smallest overlap of a pair of boxes: {parity.min_iou:.6f}")
    if parity.max_box_difference_px is not None:
        lines.append(f"- largest difference of a box: {parity.max_box_difference_px:.3g} pixels")
    if parity.max_keypoint_difference_px is not None:
        lines.append(f"- largest difference of a keypoint: {parity.max_keypoint_difference_px:.3g} pixels")
    if parity.min_mask_iou is not None:
        lines.append(f"- smallest overlap of a pair of masks: {parity.min_mask_iou:.6f}")
    return outputs + "\n\n" + "\n".join(lines)


def _sizes(metadata: ModelMetadata) -> str:
    sizes = metadata.sizes
    ratio = f"{sizes.compression_ratio:.2f}"
    return f"{_bytes(sizes.exported_size_bytes)}; the source weights have {_bytes(sizes.original_size_bytes)} (ratio {ratio})."


def _speed(metadata: ModelMetadata) -> str:
    measured = metadata.performance
    assert measured is not None
    source = "" if measured.source_latency_ms is None else f", the source model {measured.source_latency_ms:.2f} ms"
    return (
        f"{measured.inference_latency_ms:.2f} ms a picture (batch {measured.batch_size}, {measured.throughput_fps:.1f} a second)"
        f"{source}; {escape(measured.runtime)} on {escape(measured.hardware)}."
    )


def _shape(spec: TensorSpec) -> str:
    return "[" + ", ".join("any" if side < 0 else str(side) for side in spec.shape) + "]"


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.10g}" for value in values) + "]"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count} bytes"
