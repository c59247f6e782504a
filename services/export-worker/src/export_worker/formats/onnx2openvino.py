"""ONNX to OpenVINO IR, read by OpenVINO's own front end; float16 and int8 weights are converted back before they are used."""

import logging
import re

import openvino
from msgspec import structs

from contracts import labels
from contracts.errors import Permanent
from contracts.keys import MODEL_FILES
from contracts.precision import precision
from contracts.vocabulary import ExportFormat, Precision
from export_worker.formats.bundle import bundle
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Work

XML, BIN = "model.xml", "model.bin"
NARROW_INPUTS = frozenset({"Split", "VariadicSplit"})
"""Producers behind which OpenVINO 2026.4's CPU plugin cannot compile a 1x1 convolution with compressed weights."""


def convert(work: Work) -> Work:
    """Writes output/model.openvino.zip with model.xml and model.bin; raises Permanent naming what OpenVINO refuses."""
    onnx = work.need_artefact()
    core = openvino.Core()
    work.progress(0.1, "Reading the ONNX model into OpenVINO")
    try:
        model = core.read_model(str(onnx.path))
    except RuntimeError as error:
        raise refused(error) from error
    arithmetic = precision(work.request.options, work.request.optimization)
    if arithmetic is Precision.INT8_WEIGHTS:
        work.progress(0.4, "Compressing weights to int8")
        model = _compressed(model)
    _name_alike(model)
    model.set_rt_info(" ".join(labels.words(dict(enumerate(work.need_loaded().classes)))), ["model_info", "labels"])
    folder = work.folder / "tmp" / "openvino"
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, str(folder / XML), compress_to_fp16=arithmetic is Precision.FP16)
    path = work.output / MODEL_FILES[ExportFormat.OPENVINO]
    bundle(path, {XML: folder / XML, BIN: folder / BIN})
    made = structs.replace(
        onnx,
        path=path,
        export_format=ExportFormat.OPENVINO,
        toolchain={**onnx.toolchain, **_toolchain(arithmetic)},
        precision=arithmetic,
        route=(*onnx.route, "openvino"),
    )
    return structs.replace(work, artefact=made)


def refused(error: BaseException) -> Permanent:
    """OpenVINO's refusal of an ONNX model, with the operator that it names first."""
    text = str(error)
    marker = "No conversion rule found for operations:"
    if marker in text:
        operators = text.split(marker, 1)[1].strip().splitlines()[0][:200]
        return Permanent("unsupported_operator", f"OpenVINO has no conversion for {operators}.")
    return Permanent("conversion_failed", f"OpenVINO cannot read the ONNX model: {error_line(error)}")


def _compressed(model: openvino.Model) -> openvino.Model:
    import nncf  # 2 s, for this alone

    logging.getLogger("nncf").setLevel(logging.ERROR)
    ignored = nncf.IgnoredScope(names=_not_compilable(model), validate=False)
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=ignored)


def _not_compilable(model: openvino.Model) -> list[str]:
    convolutions = (op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")
    return [
        op.get_friendly_name() for op in convolutions if op.input_value(0).get_node().get_type_name() in NARROW_INPUTS
    ]


def _name_alike(model: openvino.Model) -> None:
    """Operators that ONNX did not name are called by a counter of the process: call them by their place, so that the file is always the same."""
    for place, op in enumerate(model.get_ordered_ops()):
        kind = op.get_type_name()
        if re.fullmatch(rf"{kind}(_[0-9]+)+", op.get_friendly_name()):
            op.set_friendly_name(f"{kind}.{place}")


def _toolchain(arithmetic: Precision) -> dict[str, str]:
    versions = {"openvino": openvino.__version__}
    if arithmetic is Precision.INT8_WEIGHTS:
        import nncf

        versions["nncf"] = nncf.__version__
    return versions
