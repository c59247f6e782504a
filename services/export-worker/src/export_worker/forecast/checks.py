"""One check per format: each does as much of the conversion as shows whether it works, within a second or two."""

import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from contracts.vocabulary import ExportFormat, Precision
from export_worker import registry
from export_worker.forecast.subject import Finding, Subject, Wish
from export_worker.loaded import Array, Artefact

OTHER_BATCH = 2
GREY = 114


class Check(NamedTuple):
    """`entry` is "module:function" of a check; `needs` are modules without which it cannot look."""

    entry: str
    needs: tuple[str, ...] = ()


HERE = "export_worker.forecast"
CHECKS: dict[ExportFormat, Check] = {
    ExportFormat.ONNX: Check(f"{HERE}.checks:converted"),
    ExportFormat.TORCHSCRIPT: Check(f"{HERE}.traces:scripted"),
    ExportFormat.OPENVINO: Check(f"{HERE}.checks:read_by_openvino", ("openvino",)),
    ExportFormat.TENSORRT: Check(f"{HERE}.checks:parsed_by_tensorrt", ("tensorrt_rtx",)),
    ExportFormat.COREML: Check(f"{HERE}.traces:drafted", ("coremltools",)),
    ExportFormat.TFLITE: Check(f"{HERE}.traces:lowered"),
}
"""What cannot be seen in a second or two is left to the job: passes that optimise, engines that are built, answers that are compared."""
Look = Callable[[Subject, Wish], Finding]


def converted(subject: Subject, wish: Wish) -> Finding:
    """The conversion itself, and the artefact run once in its runtime."""
    hops = registry.route(wish.format)
    by_way_of_onnx = hops[0].form == ExportFormat.ONNX
    work = subject.onnx(wish) if by_way_of_onnx else subject.work(wish)
    for hop in hops[1:] if by_way_of_onnx else hops:
        work = registry.resolve(hop.entry)(work)
    artefact = work.need_artefact()
    registry.resolve(registry.RUNTIMES[wish.format])(artefact)(grey(artefact))
    return Finding(artefact.rewrites, artefact.path.stat().st_size)


def read_by_openvino(subject: Subject, wish: Wish) -> Finding:
    """The ONNX file read, compiled and run once; int8 weights are compressed first, as the plugin does not compile all of them."""
    if wish.precision is Precision.INT8_WEIGHTS:
        return converted(subject, wish)
    import openvino

    from export_worker.formats.onnx2openvino import refused
    from export_worker.runtimes.openvino import compiled

    onnx = subject.onnx(wish).need_artefact()
    try:
        model = openvino.Core().read_model(str(onnx.path))
    except RuntimeError as error:
        raise refused(error) from error
    compiled(model)(grey(onnx))
    return Finding()


def parsed_by_tensorrt(subject: Subject, wish: Wish) -> Finding:
    """The ONNX file in the precision of the engine, parsed by TensorRT-RTX, whose parser knows what TensorRT's own knows."""
    import tensorrt_rtx

    from export_worker.formats.onnx2tensorrt import listener, parsed
    from export_worker.formats.onnx_precision import lower

    work = subject.onnx(wish)
    path = work.folder / "tmp" / "model.onnx"
    shutil.copyfile(work.need_artefact().path, path)
    lower(path, wish.precision, wish.optimization)
    parsed(tensorrt_rtx, tensorrt_rtx.Builder(listener(tensorrt_rtx, [])), path)
    return Finding()


def grey(artefact: Artefact) -> Array:
    """An input of the artefact's own shape, of two pictures where it takes any number; -1 for height and width is the model's own size."""
    spec, (height, width) = artefact.input_spec, artefact.preprocessing.resize.size
    batch = OTHER_BATCH if artefact.dynamic_batch else artefact.batch
    own = (batch, height, width, 3) if spec.format == "NHWC" else (batch, 3, height, width)
    shape = tuple(told if told > 0 else size for told, size in zip(spec.shape, own, strict=True))
    return np.full(shape, GREY if spec.dtype == "uint8" else GREY / 255, dtype=spec.dtype)
