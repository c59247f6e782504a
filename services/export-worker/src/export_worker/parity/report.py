"""parity_report.json: what was compared, on which inputs, how far apart, and the verdict."""

from msgspec import Struct

from contracts.model_package import ParitySummary
from contracts.vocabulary import ExportFormat, Proof
from export_worker.parity.tolerances import Tolerance
from export_worker.scan import Scan


class InputReport(Struct, frozen=True, kw_only=True):
    """One picture. `preprocessing_max_abs` compares the shipped preprocessing with the framework's own."""

    index: int
    height: int
    width: int
    preprocessing_max_abs: float
    outputs_max_abs: dict[str, float]
    predictions_source: int
    predictions_artefact: int
    predictions_matched: int
    predictions_on_the_edge: int
    """Not matched, but decided by rounding: within tolerance of a threshold, of the end of the list or of a tie: either answer is right."""
    min_iou: float | None
    max_box_difference_px: float | None
    max_confidence_difference: float
    min_mask_iou: float | None
    max_keypoint_difference_px: float | None
    source_ms: float
    artefact_ms: float


class Failure(Struct, frozen=True, kw_only=True):
    """One limit that was exceeded."""

    what: str
    measured: float
    allowed: float
    input: int | None = None


class Statistics(Struct, frozen=True, kw_only=True):
    """Of one tensor's finite values."""

    min: float
    max: float
    mean: float
    std: float
    not_finite: int


class Divergence(Struct, frozen=True, kw_only=True):
    """The first layer, in the order of execution, whose output differs by more than the tolerance.

    layer, module        path and class of the source's module
    tensor, operator     the artefact's names for its output and for what computes it, where it has any
    compared             how many layers were compared up to and including this one
    cause, explanation   what the values speak for: a word of parity/causes.py, and a sentence
    """

    layer: str
    module: str
    tensor: str
    operator: str
    max_abs: float | None
    """None where the artefact's values are not finite."""
    allowed: float
    compared: int
    expected: Statistics
    measured: Statistics
    cause: str
    explanation: str


class ParityReport(Struct, frozen=True, kw_only=True):
    """The whole of parity_report.json."""

    schema_version: int = 1
    proof: Proof
    export_format: ExportFormat
    runtime: str
    tolerance: Tolerance
    confidence_threshold: float
    """The low threshold at which predictions were compared, so that there is something to compare."""
    note: str
    summary: ParitySummary
    batch_max_abs: float | None = None
    """Largest difference between a batch of pictures and the same pictures one by one, where the batch is dynamic."""
    failures: tuple[Failure, ...] = ()
    first_divergence: Divergence | None = None
    scan: Scan | None = None
    """What a scanner says of the checkpoint: a label that decided nothing."""
    inputs: tuple[InputReport, ...] = ()
