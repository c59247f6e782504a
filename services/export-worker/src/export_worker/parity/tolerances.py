"""How far an artefact may be from its source, per format and precision: the one table, each row with its reason."""

from msgspec import Struct

from contracts.vocabulary import ExportFormat, Precision


class Tolerance(Struct, frozen=True, kw_only=True):
    """Limits of the parity gate.

    input       largest difference of the prepared tensors, framework against shipped preprocessing
    relative    largest difference of an output, as a fraction of the output's largest magnitude
    absolute    what is always allowed: float32 rounding of values near zero
    cosine      least cosine similarity of an output
    confidence  largest difference of a prediction's confidence
    iou, pixels a box matches if it overlaps this much, or if its sides lie this close (source pixels)
    matched     least fraction of predictions matched at the low threshold; at the default threshold all must match

    tied        largest fraction of predictions, and of the confident ones, that ties may decide otherwise; one may always be. Where tensors are equal
                but for float32's rounding it can only be ties, below float32 a fault that the tensors' limit lets pass looks the same

    Of what predictions have beside a box, as strict as float32 needs it unless a row says otherwise:
    keypoint_pixels  largest distance of a keypoint (source pixels)
    mask_iou         least overlap of masks of more than 50 pixels
    mask_strays      pixels that only one of two masks may have, as a fraction of those on their contour: a mask moved by one pixel has
                     about as many as its contour, whatever its size
    """

    input: float
    relative: float
    absolute: float
    cosine: float
    confidence: float
    iou: float
    pixels: float
    matched: float
    tied: float = 1.0
    keypoint_pixels: float = 0.1
    mask_iou: float = 0.99
    mask_strays: float = 0.1
    reason: str


FP32 = Precision.FP32

TOLERANCES: dict[tuple[ExportFormat, Precision], Tolerance] = {
    (ExportFormat.ONNX, FP32): Tolerance(
        input=2e-6, relative=1e-4, absolute=1e-5, cosine=0.99999, confidence=1e-3, iou=0.99, pixels=0.1, matched=0.99,
        reason="The same float32 arithmetic, summed in another order and with fused operators: about 1e-6 of an output's "
        "scale was measured on all sample models; a hundred times that is the limit.",
    ),
    (ExportFormat.TORCHSCRIPT, FP32): Tolerance(
        input=2e-6, relative=1e-5, absolute=1e-6, cosine=0.999999, confidence=1e-4, iou=0.995, pixels=0.05, matched=0.99,
        reason="The same kernels of the same torch in the same order: differences of 0 to 1e-6 of an output's scale were "
        "measured; ten times that is the limit.",
    ),
    (ExportFormat.OPENVINO, FP32): Tolerance(
        input=2e-6, relative=2e-4, absolute=1e-5, cosine=0.99999, confidence=1e-3, iou=0.99, pixels=0.1, matched=0.99,
        reason="float32 on OpenVINO's CPU plugin, which reorders and fuses more than ONNX Runtime does: up to 1e-6 of an output's "
        "scale was measured; two hundred times that is the limit.",
    ),
    (ExportFormat.COREML, FP32): Tolerance(
        input=2e-6, relative=1e-4, absolute=1e-5, cosine=0.99999, confidence=1e-3, iou=0.99, pixels=0.1, matched=0.99,
        reason="The saved program's operators in torch's float32: what the converter folded and reordered differs by up to 1e-6 of an "
        "output's scale; a hundred times that is the limit, as for ONNX.",
    ),
    (ExportFormat.TFLITE, FP32): Tolerance(
        input=2e-6, relative=5e-4, absolute=1e-5, cosine=0.99999, confidence=1e-3, iou=0.99, pixels=0.1, matched=0.99,
        reason="float32 by XNNPACK, batch normalisations folded into convolutions: up to 1.5e-6 of an output's scale was measured on 21 "
        "architectures, but 1.5e-4 on a trained transformer, whose layer norms divide a plain picture's rounding by almost nothing (its "
        "predictions were the same, all 160); three times that is the limit.",
    ),
    (ExportFormat.TENSORRT, FP32): Tolerance(
        input=2e-6, relative=1e-3, absolute=1e-4, cosine=0.9999, confidence=5e-3, iou=0.98, pixels=0.5, matched=0.98,
        reason="float32 on an NVIDIA GPU may use TF32's 10 bits in products; not measured here, where no engine was executed.",
    ),
}  # fmt: skip

BELOW_FLOAT32: dict[Precision, Tolerance] = {
    # of every format without a row of its own above
    Precision.FP16: Tolerance(
        input=2e-6, relative=3e-2, absolute=1e-3, cosine=0.9999, confidence=2e-2, iou=0.97, pixels=1.0, matched=0.97,
        tied=0.1, keypoint_pixels=1.0, mask_iou=0.97, mask_strays=0.5,
        reason="float16 has 11 bits: up to 1.5e-3 of an output's scale was measured on the sample models, 1.5e-2 on a trained "
        "transformer whose predictions were the same, all 160; twice that is the limit. Confidences differed by up to 1e-3; what is near "
        "a threshold or a tie is decided otherwise. On untrained models 99 % of masks had strays below 0.27 of their contour, nine of ten "
        "sets of keypoints lay within 0.2 pixels. Ties decided up to 0.4 % of predictions of trained detectors and 3.3 % of untrained ones.",
    ),
    Precision.INT8_WEIGHTS: Tolerance(
        input=2e-6, relative=0.1, absolute=1e-2, cosine=0.999, confidence=0.15, iou=0.8, pixels=3.0, matched=0.9,
        tied=0.2, keypoint_pixels=5.0, mask_iou=0.8, mask_strays=2.5,
        reason="Weights in 255 steps per channel: up to 2.4e-2 of an output's scale and 0.075 of a confidence were measured on "
        "the sample models, 97.8 % of all predictions above 0.01 were the same. Ties decided up to 2.1 % of a trained detector's; with boxes 12 pixels "
        "off they seem to decide 37 %.",
    ),
    Precision.INT8_DYNAMIC: Tolerance(
        input=2e-6, relative=0.15, absolute=1e-2, cosine=0.998, confidence=0.15, iou=0.8, pixels=3.0, matched=0.9,
        tied=0.2, keypoint_pixels=5.0, mask_iou=0.8, mask_strays=2.5,
        reason="Weights and activations in 255 steps: up to 5.1e-2 of an output's scale and 0.085 of a confidence were measured "
        "on the sample models, 97 % of all predictions above 0.01 were the same, ties decided up to 4.7 % of a trained detector's and "
        "10.4 % of an untrained segmenter's (34 % of an untrained pose model's, which is refused). On untrained models nine of ten masks "
        "had strays below 0.33 of their contour, one of a hundred 2.5 times as many.",
    ),
}  # fmt: skip


def tolerance(export_format: ExportFormat, precision: Precision = FP32) -> Tolerance:
    """The row of the tables."""
    return TOLERANCES.get((export_format, precision)) or BELOW_FLOAT32[precision]
