"""README.md of one package: this very model, its input, thresholds, classes, parity, size and speed, as measured."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from importlib.resources import files
from string import Template

import msgspec

from contracts.model_package import ModelMetadata, TensorSpec
from contracts.vocabulary import Decoder, Proof

CLASSES_SHOWN = 100
_TEXT_SHOWN = 120
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#!|~$&@]|(?<=www)\.|:(?=//)", re.IGNORECASE)
_DETECTORS = {Decoder.YOLO_V8, Decoder.YOLO_END2END}
PROOFS: dict[Proof, str] = {
    Proof.VERIFIED: "this file was run on its own runtime and compared with the source model",
    Proof.EVALUATED: "its program was run by a reference evaluator, not by the vendor's runtime",
    Proof.BUILT: "converted and structurally checked; nothing where it was built could run it",
    Proof.FAILED: "it does not reproduce its source model",
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
        proof=metadata.parity.proof,
        proof_meaning=PROOFS[metadata.parity.proof],
        model_file=metadata.model_file,
        input_table=_input_table(metadata),
        output_table=_table(("output", "shape", "type", "layout"), map(_output_row, metadata.output_spec.values())),
        result=_result(metadata),
        classes=_classes(metadata),
        parity=_parity(metadata),
        sizes=_sizes(metadata),
        speed="Not measured." if performance is None else _speed(metadata),
        checkpoint=metadata.provenance.checkpoint_sha256,
        options=code_block(msgspec.to_builtins(metadata.provenance.export_options)),
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


def _result(metadata: ModelMetadata) -> str:
    post = metadata.postprocessing
    if post.decoder not in _DETECTORS:
        return f"Decoder `{post.decoder}`: the {post.top_k} likeliest classes with their probabilities."
    nms = post.nms
    if nms.embedded:
        suppression = f"suppression inside the model, overlap above {nms.iou_threshold:g}"
    elif nms.enabled:
        suppression = f"suppression per class where the overlap is above {nms.iou_threshold:g}"
    else:
        suppression = "no suppression needed"
    return (
        f"Decoder `{post.decoder}`: boxes `x1 y1 x2 y2` in pixels of the picture given, confidence above "
        f"{nms.confidence_threshold:g}, {suppression}, at most {nms.max_detections} per picture."
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
