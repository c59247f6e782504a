"""A float32 LiteRT model with its weights in fewer bits, by AI Edge Quantizer; what flows between operators stays float32."""

from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from ai_edge_quantizer import recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager

from contracts.errors import Permanent
from contracts.vocabulary import Precision
from export_worker.frameworks.checkpoints import error_line


def float16() -> Any:
    """Weights of every operator in float16, converted back before they are used."""
    made = RecipeManager()
    made.add_weight_only_config(
        regex=".*",
        operation_name=TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    return made.get_quantization_recipe()


RECIPES: dict[Precision, Callable[[], Any]] = {
    Precision.FP16: float16,
    Precision.INT8_WEIGHTS: recipe.weight_only_wi8_afp32,
    Precision.INT8_DYNAMIC: recipe.dynamic_wi8_afp32,
}
"""Recipes that need no pictures; a static one would be calibrated with them here."""


def reduced(model: bytes, precision: Precision) -> bytes:
    """The model in the precision asked for; float32 is the model itself.

    Raises Permanent("conversion_failed") where the quantizer cannot, or finds nothing to make smaller.
    """
    if precision is Precision.FP32:
        return model
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            quantizer = Quantizer(model)
            quantizer.load_quantization_recipe(RECIPES[precision]())
            made = quantizer.quantize().quantized_model
    except Exception as error:  # its algorithms raise whatever they do not expect of a graph
        raise Permanent("conversion_failed", f"AI Edge Quantizer, {precision}: {error_line(error)}") from error
    if made is None or len(made) >= len(model):
        raise Permanent("conversion_failed", f"AI Edge Quantizer found no weights to store as {precision}.")
    return bytes(made)
