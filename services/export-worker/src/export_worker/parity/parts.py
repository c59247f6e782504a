"""What an output tensor is made of: boxes are in pixels, scores below one, each part is held to a scale of its own."""

from contracts.vocabulary import Decoder

Parts = tuple[tuple[str, slice], ...]
"""Names and places along axis 1 of one output."""

WHOLE: Parts = (("", slice(None)),)
ROW_SETS = frozenset(decoder for decoder in Decoder if decoder.startswith("yolo_end2end"))
"""Rows [N, K, components], best first: several with almost equal scores may come in either order."""
QUERY_SETS = frozenset({Decoder.DETR_SOFTMAX, Decoder.DETR_SIGMOID})
"""Queries [N, Q, …] in all outputs alike, without any order."""
EXTRAS: dict[Decoder, str] = {
    Decoder.YOLO_V8: "",
    Decoder.YOLO_V8_SEGMENT: "coefficients",
    Decoder.YOLO_V8_POSE: "keypoints",
    Decoder.YOLO_V8_OBB: "angles",
    Decoder.YOLO_END2END: "",
    Decoder.YOLO_END2END_SEGMENT: "coefficients",
    Decoder.YOLO_END2END_POSE: "keypoints",
    Decoder.YOLO_END2END_OBB: "angles",
}
"""What follows boxes and scores in the first output of YOLO's decoders."""


def parts(decoder: Decoder, outputs: int, classes: int, dims: int) -> tuple[Parts, ...]:
    """Of each output; `classes` the model has, `dims` are the numbers of a keypoint. Rows lie as columns, as anchors do."""
    extra = EXTRAS.get(decoder)
    if extra is None:
        return (WHOLE,) * outputs
    rows: Parts = ((" scores", slice(4, 5)), (" classes", slice(5, 6)))
    anchors: Parts = ((" scores", slice(4, 4 + classes)),)
    first, scores = (6, rows) if decoder in ROW_SETS else (4 + classes, anchors)
    return ((" boxes", slice(0, 4)), *scores, *_after(extra, first, dims)), *(WHOLE,) * (outputs - 1)


def _after(extra: str, first: int, dims: int) -> Parts:
    if extra == "keypoints":
        numbers = (" keypoints x", " keypoints y", " visibility")[:dims]
        return tuple((name, slice(first + place, None, dims)) for place, name in enumerate(numbers))
    return ((f" {extra}", slice(first, None)),) if extra else ()
