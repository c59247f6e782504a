"""One check per format: each does as much of the conversion as shows whether it works, within a second or two."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from contracts.vocabulary import ExportFormat
from export_worker import registry
from export_worker.forecast.subject import Finding, Subject, Wish
from export_worker.loaded import Array, Artefact

OTHER_BATCH = 2
GREY = 114


class Check(NamedTuple):
    """`entry` is "module:function" of a check; `needs` are modules without which it cannot look."""

    entry: str
    needs: tuple[str, ...] = ()


CHECKS: dict[ExportFormat, Check] = {
    ExportFormat.ONNX: Check("export_worker.forecast.checks:converted"),
    ExportFormat.TORCHSCRIPT: Check("export_worker.forecast.checks:converted"),
    ExportFormat.OPENVINO: Check("export_worker.forecast.checks:converted", ("openvino",)),
}
Look = Callable[[Subject, Wish], Finding]


def converted(subject: Subject, wish: Wish) -> Finding:
    """The conversion itself, and the artefact run once in its runtime at every kind of batch that it takes."""
    hops = registry.route(wish.format)
    by_way_of_onnx = hops[0].form == ExportFormat.ONNX
    work = subject.onnx(wish) if by_way_of_onnx else subject.work(wish)
    for hop in hops[1:] if by_way_of_onnx else hops:
        work = registry.resolve(hop.entry)(work)
    artefact = work.need_artefact()
    runtime = registry.resolve(registry.RUNTIMES[wish.format])(artefact)
    for batch in (artefact.batch, OTHER_BATCH) if artefact.dynamic_batch else (artefact.batch,):
        runtime(grey(artefact, batch))
    return Finding(artefact.rewrites, artefact.path.stat().st_size)


def grey(artefact: Artefact, batch: int) -> Array:
    """An input of the artefact's own shape; -1 for height and width is the model's own size."""
    spec, (height, width) = artefact.input_spec, artefact.preprocessing.resize.size
    own = (batch, height, width, 3) if spec.format == "NHWC" else (batch, 3, height, width)
    shape = tuple(told if told > 0 else size for told, size in zip(spec.shape, own, strict=True))
    return np.full((batch, *shape[1:]), GREY if spec.dtype == "uint8" else GREY / 255, dtype=spec.dtype)
