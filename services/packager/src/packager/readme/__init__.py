"""README.md of one package: this very model, its input, thresholds, classes, parity, size and speed, as measured."""

from collections.abc import Sequence
from importlib.resources import files
from string import Template

import msgspec

from contracts.model_package import ModelMetadata, Nms, TensorSpec
from contracts.vocabulary import Decoder, ExportFormat, Framework, Precision, Proof
from packager.readme import figures, languages
from packager.readme.markdown import code_block, escape, table
from processing.decoders import DECODERS, Kind

CLASSES_SHOWN = 100
MASK = (
    "`mask` with the pixels as COCO's uncompressed run lengths (`size` height and width, `counts` down the columns, pixels "
    "outside first)"
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
PARTS: dict[ExportFormat, str] = {
    ExportFormat.COREML: ", a folder that Xcode opens as one file",
    ExportFormat.OPENVINO: "; its weights are in `model.bin`",
}
NAMES_INSIDE: dict[ExportFormat, str] = {
    ExportFormat.ONNX: "The model itself names them too, in its `metadata_props`: `names` as Ultralytics writes them, `modelport.names` as JSON.",
    ExportFormat.COREML: "The model itself names them too, in its user-defined metadata (Xcode shows it): `names`, and as JSON `modelport.names`.",
    ExportFormat.TFLITE: "The model itself names them too, in the `labels.txt` of its TensorFlow Lite Metadata; `unzip -l model.tflite` lists its files.",
    ExportFormat.OPENVINO: "The model itself names them too, in its `rt_info`: `model_info/labels` as Model API reads it, `framework/modelport.names` as JSON.",
    ExportFormat.TORCHSCRIPT: "The model itself names them too, in its extra files `config.txt` (as Ultralytics writes it) and `modelport.json`.",
    ExportFormat.TENSORRT: "An engine has no place for them: `labels.txt` and `metadata.json` are where they are.",
}
LICENCES: dict[Framework, str] = {
    Framework.ULTRALYTICS: (
        "it was made by way of Ultralytics, whose software and pretrained weights are under AGPL-3.0 unless you hold an Enterprise "
        "licence of Ultralytics; Ultralytics' position is that models trained with it are under the same."
    ),
    Framework.TIMM: (
        "timm's code, and with it the architecture, is under the Apache License 2.0; pretrained weights that a training began with "
        "have licences of their own, which their model cards name (some forbid commercial use)."
    ),
    Framework.HUGGINGFACE: (
        "the code of transformers is under the Apache License 2.0; the weights are under the licence that their model card names "
        "(some forbid commercial use)."
    ),
}
"""What is known of a model's licence from the framework that it came from."""
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
    info = metadata.model_info
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
        model_parts=PARTS.get(info.export_format, ""),
        languages=languages.names(metadata),
        options_taken=languages.options_taken(metadata),
        status=languages.status(metadata),
        sections=languages.sections(metadata),
        names_inside=NAMES_INSIDE[info.export_format],
        licence=LICENCES[info.framework],
        input_table=_input_table(metadata),
        output_table=table(("output", "shape", "type", "layout"), map(_output_row, metadata.output_spec.values())),
        result=result(metadata),
        classes=_classes(metadata),
        parity=figures.parity(metadata.parity),
        sizes=figures.sizes(metadata.sizes),
        speed=figures.speed(metadata.performance),
        checkpoint=metadata.provenance.checkpoint_sha256,
        options=code_block(msgspec.to_builtins(metadata.provenance.export_options)),
        signature=signature(metadata),
        toolchain=table(("tool", "release"), sorted(metadata.provenance.toolchain.items())),
    )


def notice() -> str:
    """NOTICE.txt: whose the files are."""
    return (files("packager") / "templates" / "NOTICE.txt").read_text(encoding="utf-8")


def _route(metadata: ModelMetadata) -> str:
    """By which forms the checkpoint became this file, and what was changed on the way."""
    made = metadata.provenance
    told = " → ".join(f"`{escape(form)}`" for form in made.route) or f"`{metadata.model_info.export_format}`"
    if not made.rewrites:
        return f"Route: {told}."
    rewrites = ", ".join(escape(name) for name in made.rewrites)
    return f"Route: {told}. Parts of the model were rewritten for it, with the same answers: {rewrites}."


def signature(metadata: ModelMetadata) -> str:
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
    return table(("input", "value"), rows)


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
    listed = table(("id", "class"), [(c.id, c.name) for c in shown])
    rest = len(metadata.classes) - len(shown)
    return listed + (f"\n\n… and {rest} more, see `labels.txt`." if rest else "")


def _shape(spec: TensorSpec) -> str:
    return "[" + ", ".join("any" if side < 0 else str(side) for side in spec.shape) + "]"


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.10g}" for value in values) + "]"
