"""All operators of MIL that the evaluator runs."""

from export_worker.runtimes.coreml import (
    activations,
    arithmetic,
    indexing,
    linear,
    normalisation,
    reductions,
    resizing,
    shapes,
    weights,
)
from export_worker.runtimes.coreml.arguments import Operator

OPERATORS: dict[str, Operator] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **indexing.OPERATORS,
    **linear.OPERATORS,
    **normalisation.OPERATORS,
    **reductions.OPERATORS,
    **resizing.OPERATORS,
    **shapes.OPERATORS,
    **weights.OPERATORS,
}
