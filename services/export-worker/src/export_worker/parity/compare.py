"""Output tensors of two models: largest and mean difference and cosine, output by output and part by part, sets matched as sets."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from contracts.model_package import OutputParity, Postprocessing
from contracts.vocabulary import Decoder
from export_worker.loaded import Array
from export_worker.parity.parts import QUERY_SETS, ROW_SETS, parts
from export_worker.parity.rowsets import align, nearest_rows
from export_worker.parity.tolerances import Tolerance

Floats = npt.NDArray[np.float64]


class Difference:
    """Collects one part of one output over all inputs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.max_abs = self.scale = self.total = 0.0
        self.count = 0
        self.products = np.zeros(3)

    def add(self, x: Floats, y: Floats) -> float:
        difference = np.abs(x - y)
        largest = float(difference.max(initial=0.0))
        self.max_abs = max(self.max_abs, largest)
        self.scale = max(self.scale, float(np.abs(x).max(initial=0.0)))
        self.total += float(difference.sum())
        self.count += difference.size
        self.products += [float((x * y).sum()), float((x * x).sum()), float((y * y).sum())]
        return largest

    def result(self, limits: Tolerance) -> OutputParity:
        dot, own, other = self.products
        norm = float(np.sqrt(own * other))
        return OutputParity(
            name=self.name,
            max_abs=self.max_abs,
            mean_abs=self.total / max(self.count, 1),
            cosine=float(dot) / norm if norm > 0 else 1.0,
            max_abs_allowed=max(limits.relative * self.scale, limits.absolute),
        )


class Comparison:
    """Collects all outputs over all inputs."""

    def __init__(
        self, names: Sequence[str], decoder: Decoder, tolerance: Tolerance, *, classes: int, dims: int = 3
    ) -> None:
        self.names, self.decoder, self.tolerance = list(names), decoder, tolerance
        self.parts = [
            [(Difference(f"{name}{label}"), part) for label, part in each]
            for name, each in zip(self.names, parts(decoder, len(self.names), classes, dims), strict=True)
        ]
        self.bad = self.source_is_broken = False
        self.flipped = self.rows = 0

    @classmethod
    def described(cls, names: Sequence[str], post: Postprocessing, classes: int, tolerance: Tolerance) -> "Comparison":
        """Of outputs that metadata.json describes so."""
        dims = post.keypoint_shape[1] if post.keypoint_shape else 3
        return cls(names, post.decoder, tolerance, classes=classes, dims=dims)

    def add(self, source: Sequence[Array], artefact: Sequence[Array], pool: Floats | None = None) -> dict[str, float]:
        """One input's outputs of both, batch 1; the largest difference of each, inf if they are not even comparable.

        `pool`: where the graph suppresses, every box that the source had before (see `rowsets`).
        """
        self.source_is_broken |= not all(np.isfinite(one).all() for one in source)
        shapes = [one.shape for one in source], [one.shape for one in artefact]
        if shapes[0] != shapes[1] or not all(np.isfinite(one).all() for one in artefact):
            self.bad = True
            return dict.fromkeys(self.names, float("inf"))
        a, b = self._ordered(
            [one.astype(np.float64) for one in source], [one.astype(np.float64) for one in artefact], pool
        )
        worst = {}
        for name, own, x, y in zip(self.names, self.parts, a, b, strict=True):
            worst[name] = max(difference.add(_part(x, part), _part(y, part)) for difference, part in own)
        return worst

    def _ordered(
        self, source: list[Floats], artefact: list[Floats], pool: Floats | None
    ) -> tuple[list[Floats], list[Floats]]:
        """Sets in the same order, and their components on axis 1."""
        if self.decoder in ROW_SETS:
            aligned = align(source[0][0], artefact[0][0], self.tolerance, pool)
            self.flipped += aligned.flipped
            self.rows += aligned.rows
            return [aligned.source.T[None], *source[1:]], [aligned.artefact.T[None], *artefact[1:]]
        if self.decoder in QUERY_SETS:
            order = nearest_rows(*(np.concatenate([one[0] for one in outputs], 1) for outputs in (source, artefact)))
            return source, [one[:, order] for one in artefact]
        return source, artefact

    @property
    def within(self) -> bool:
        """Whether every part of every output is as near as the tolerance asks."""
        return not self.bad and all(part.max_abs <= part.max_abs_allowed for part in self.result())

    def result(self) -> tuple[OutputParity, ...]:
        """One entry per part of each output."""
        return tuple(difference.result(self.tolerance) for own in self.parts for difference, _ in own)


def _part(values: Floats, part: slice) -> Floats:
    return values if part == slice(None) else values[:, part]
