"""Less than float32 in an ONNX file: float16 by casting the graph, int8 weights with activations quantised at run time."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx

from contracts.errors import Permanent
from contracts.optimization import DynamicQuantization, OptimizationConfig
from contracts.vocabulary import Precision
from export_worker.frameworks.checkpoints import error_line

KEPT_FLOAT32 = (
    # float16 cannot hold their indices or sizes, or ONNX Runtime has no float16 kernel for them
    "NonMaxSuppression", "TopK", "Range", "Resize", "Upsample", "GridSample", "CumSum",
)  # fmt: skip


def lower(path: Path, precision: Precision, optimization: OptimizationConfig) -> None:
    """Rewrite the file in place with the arithmetic asked for; its inputs and outputs keep their types."""
    lowered = LOWERED.get(precision)
    if lowered is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lowered(path, optimization)
    except (RuntimeError, ValueError, TypeError, KeyError, onnx.checker.ValidationError) as error:
        raise Permanent("conversion_failed", f"{precision} of the ONNX model: {error_line(error)}") from error


def _float16(path: Path, optimization: OptimizationConfig) -> None:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    blocked = sorted({*DEFAULT_OP_BLOCK_LIST, *KEPT_FLOAT32})
    model = onnx.load(str(path), load_external_data=False)
    onnx.save(convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked), str(path))


def _dynamic(path: Path, optimization: OptimizationConfig) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    asked = optimization.quantization
    unsigned = isinstance(asked, DynamicQuantization) and asked.dtype == "quint8"
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        quantize_dynamic(str(path), str(made), weight_type=QuantType.QUInt8 if unsigned else QuantType.QInt8)
        made.replace(path)


LOWERED: dict[Precision, Callable[[Path, OptimizationConfig], None]] = {
    Precision.FP16: _float16,
    Precision.INT8_DYNAMIC: _dynamic,
}
