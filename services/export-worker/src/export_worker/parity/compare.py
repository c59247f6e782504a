"""Output tensors of two models: largest and mean difference and cosine, part by part, rows of a set matched as a set."""

import numpy as np
import numpy.typing as npt

from contracts.model_package import OutputParity
from contracts.vocabulary import Decoder
from export_worker.parity.rowsets import align
from export_worker.parity.tolerances import Tolerance

Floats = npt.NDArray[np.float64]

PARTS: dict[Decoder, tuple[tuple[str, slice], ...]] = {
    # boxes are in pixels and scores below one: each is held to its own scale
    Decoder.YOLO_V8: ((" boxes", slice(0, 4)), (" scores", slice(4, None))),
    Decoder.YOLO_END2END: ((" boxes", slice(0, 4)), (" scores", slice(4, 5)), (" classes", slice(5, 6))),
}


class Comparison:
    """Collects one output over all inputs."""

    def __init__(self, name: str, decoder: Decoder, tolerance: Tolerance) -> None:
        self.name, self.decoder, self.tolerance = name, decoder, tolerance
        self.parts = PARTS.get(decoder, (("", slice(None)),))
        self.max_abs = [0.0] * len(self.parts)
        self.scale = [0.0] * len(self.parts)
        self.total = [0.0] * len(self.parts)
        self.count = [0] * len(self.parts)
        self.products = [np.zeros(3) for _ in self.parts]
        self.bad = self.source_is_broken = False
        self.flipped = self.rows = 0

    def add(
        self, source: npt.NDArray[np.generic], artefact: npt.NDArray[np.generic], pool: Floats | None = None
    ) -> float:
        """One input's output of both, batch 1; the largest difference found, inf if not even comparable.

        `pool`: where the graph suppresses, every box that the source had before (see `rowsets`).
        """
        self.source_is_broken |= not np.isfinite(source).all()
        if source.shape != artefact.shape or not np.isfinite(artefact).all():
            self.bad = True
            return float("inf")
        a, b = self._rows(source.astype(np.float64), artefact.astype(np.float64), pool)
        worst = 0.0
        for index, (_, part) in enumerate(self.parts):
            x, y = (a[:, part], b[:, part]) if len(self.parts) > 1 else (a, b)
            difference = np.abs(x - y)
            largest = float(difference.max(initial=0.0))
            worst = max(worst, largest)
            self.max_abs[index] = max(self.max_abs[index], largest)
            self.scale[index] = max(self.scale[index], float(np.abs(x).max(initial=0.0)))
            self.total[index] += float(difference.sum())
            self.count[index] += difference.size
            self.products[index] += [float((x * y).sum()), float((x * x).sum()), float((y * y).sum())]
        return worst

    def _rows(self, source: Floats, artefact: Floats, pool: Floats | None) -> tuple[Floats, Floats]:
        """Axis 1 becomes the component axis; rows of a set are brought into the same order."""
        if self.decoder is not Decoder.YOLO_END2END:
            return source, artefact
        aligned = align(source[0], artefact[0], self.tolerance, pool)
        self.flipped += aligned.flipped
        self.rows += aligned.rows
        return aligned.source.T[None], aligned.artefact.T[None]

    def result(self) -> tuple[OutputParity, ...]:
        """One entry per part."""
        return tuple(self._entry(index) for index in range(len(self.parts)))

    def _entry(self, index: int) -> OutputParity:
        dot, own, other = self.products[index]
        norm = float(np.sqrt(own * other))
        return OutputParity(
            name=f"{self.name}{self.parts[index][0]}",
            max_abs=self.max_abs[index],
            mean_abs=self.total[index] / max(self.count[index], 1),
            cosine=float(dot) / norm if norm > 0 else 1.0,
            max_abs_allowed=max(self.tolerance.relative * self.scale[index], self.tolerance.absolute),
        )
