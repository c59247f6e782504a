"""The README's figures: parity, size and speed, as the export measured them."""

from contracts.model_package import ParitySummary, Performance, Sizes
from packager.readme.markdown import escape, table


def parity(found: ParitySummary) -> str:
    """Outputs in a table, predictions in a list."""
    outputs = table(
        ("output", "max. difference", "allowed", "mean difference", "cosine"),
        [
            (o.name, f"{o.max_abs:.3g}", f"{o.max_abs_allowed:.3g}", f"{o.mean_abs:.3g}", f"{o.cosine:.9f}")
            for o in found.outputs
        ],
    )
    lines = [
        f"- {found.inputs} inputs, {found.non_square_inputs} of them not square",
        f"- predictions of the source found again: {found.predictions_matched} of {found.predictions_source}",
        f"- largest difference of a confidence: {found.max_confidence_difference:.3g}",
    ]
    if found.min_iou is not None:
        lines.append(f"- smallest overlap of a pair of boxes: {found.min_iou:.6f}")
    if found.max_box_difference_px is not None:
        lines.append(f"- largest difference of a box: {found.max_box_difference_px:.3g} pixels")
    if found.max_keypoint_difference_px is not None:
        lines.append(f"- largest difference of a keypoint: {found.max_keypoint_difference_px:.3g} pixels")
    if found.min_mask_iou is not None:
        lines.append(f"- smallest overlap of a pair of masks: {found.min_mask_iou:.6f}")
    return outputs + "\n\n" + "\n".join(lines)


def sizes(told: Sizes) -> str:
    """Of the artefact and of what it was made from."""
    original, exported = _bytes(told.original_size_bytes), _bytes(told.exported_size_bytes)
    return f"{exported}; the source weights have {original} (ratio {told.compression_ratio:.2f})."


def speed(measured: Performance | None) -> str:
    """Of the artefact and of the source, in the words of the machine that measured."""
    if measured is None:
        return "Not measured."
    source = "" if measured.source_latency_ms is None else f", the source model {measured.source_latency_ms:.2f} ms"
    return (
        f"{measured.inference_latency_ms:.2f} ms a picture (batch {measured.batch_size}, {measured.throughput_fps:.1f} a second)"
        f"{source}; {escape(measured.runtime)} on {escape(measured.hardware)}."
    )


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count} bytes"
