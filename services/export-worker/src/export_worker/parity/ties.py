"""Which queries a detector refines may hang on rounding: what its source answers where its own choice of them falls the other way.

RT-DETR and its kin keep the best K of thousands of places. Where place K and place K + 1 score alike, another order of summation keeps
the other one, and all queries, which look at each other, then answer a little differently. Such an artefact is equal to its source
if it answers what the source itself answers with the other choice.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from export_worker.loaded import Array, Loaded, Picture, SourceRun
from export_worker.parity.compare import Comparison
from export_worker.parity.parts import QUERY_SETS
from export_worker.parity.tolerances import Tolerance

TOPK = (torch.topk, torch.Tensor.topk)
MOST = 12
"""Other choices that are tried for one swap."""
SWAPS = 4
"""Places that may be chosen otherwise in one picture."""


class Tie(NamedTuple):
    """In that call the place `kept`, at `position` among the best, and the place `left` out of them are apart by less than rounding."""

    call: int
    position: int
    kept: int
    left: int
    gap: float


class Chooser(TorchFunctionMode):
    """Watches every choice [1, places] -> [1, K] of a module while it runs, and makes the swaps that it is given."""

    def __init__(self, relative: float, swaps: Sequence[Tie] = ()) -> None:
        super().__init__()
        self.relative, self.swaps = relative, swaps
        self.calls = 0
        self.ties: list[Tie] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if func not in TOPK or args[0].dim() != 2 or args[0].shape[0] != 1:
            return answer
        scores, chosen = args[0][0], answer[1][0].clone()
        for swap in self.swaps:
            if swap.call == self.calls:
                chosen[chosen == swap.kept] = swap.left
        self.ties.extend(near_ties(scores.numpy(), chosen.numpy(), self.calls, self.relative))
        self.calls += 1
        return torch.return_types.topk((scores[chosen][None], chosen[None]))


def near_ties(scores: Array, chosen: Array, call: int, relative: float) -> list[Tie]:
    """Every pair of a chosen place and one left out whose scores differ by at most `relative` of the largest."""
    others = np.setdiff1d(np.arange(len(scores)), chosen)
    if not len(others):
        return []
    reach = relative * float(np.abs(scores).max())
    positions = np.flatnonzero(scores[chosen] <= scores[others].max() + reach)
    left = others[scores[others] >= scores[chosen].min() - reach]
    pairs = [
        Tie(call, int(p), int(chosen[p]), int(o), abs(float(scores[chosen[p]] - scores[o])))
        for p in positions
        for o in left
    ]
    return [tie for tie in pairs if tie.gap <= reach]


class Choices:
    """Settles, picture by picture, which of its possible answers the source is compared with; `changed` counts other ones."""

    def __init__(self, loaded: Loaded, names: Sequence[str], limits: Tolerance, confidence: float) -> None:
        self.loaded, self.names, self.limits, self.confidence = loaded, names, limits, confidence
        self.changed = 0

    def settle(self, picture: Picture, source: SourceRun, outputs: Sequence[Array]) -> SourceRun:
        """`source`, or what it answers with other choices between ties if that, and only that, is what the artefact answers."""
        if self.loaded.postprocessing.decoder not in QUERY_SETS or self._same(source, outputs):
            return source
        swaps: tuple[Tie, ...] = ()
        nearest, best = source, float(distances(source.outputs, outputs).sum())
        while len(swaps) < SWAPS:
            added = None
            for tie in self._likely(picture, swaps, nearest, outputs):
                other = self._run(picture, Chooser(self.limits.relative, (*swaps, tie)))
                if self._same(other, outputs):
                    self.changed += 1
                    return other
                apart = float(distances(other.outputs, outputs).sum())
                if apart < best:
                    best, nearest, added = apart, other, tie
            if added is None:
                return source
            swaps = (*swaps, added)
        return source

    @property
    def note(self) -> str:
        """What a reader has to know about it."""
        told = f"{self.changed} times the source's own choice of queries hung on rounding, and was made as the artefact made it."
        return told if self.changed else ""

    def _likely(
        self, picture: Picture, swaps: tuple[Tie, ...], nearest: SourceRun, outputs: Sequence[Array]
    ) -> list[Tie]:
        """Ties whose query has no partner among the artefact's, the closest first."""
        watched = Chooser(self.limits.relative, swaps)
        self._run(picture, watched)
        apart = distances(nearest.outputs, outputs)
        return sorted(watched.ties, key=lambda tie: (-apart[tie.position % len(apart)], tie.gap))[:MOST]

    def _run(self, picture: Picture, chooser: Chooser) -> SourceRun:
        """The source with `chooser` at work inside the model, and nowhere else."""

        def begin(*_: Any) -> None:
            chooser.__enter__()

        def end(*_: Any) -> None:
            chooser.__exit__(None, None, None)

        module = self.loaded.module
        hooks = module.register_forward_pre_hook(begin), module.register_forward_hook(end, always_call=True)
        try:
            return self.loaded.source(picture, self.confidence, 0.0)
        finally:
            for hook in hooks:
                hook.remove()

    def _same(self, source: SourceRun, outputs: Sequence[Array]) -> bool:
        one = Comparison(self.names, self.loaded.postprocessing.decoder, self.limits, classes=len(self.loaded.classes))
        one.add(source.outputs, outputs)
        return not one.bad and all(part.max_abs <= part.max_abs_allowed for part in one.result())


def distances(source: Sequence[Array], artefact: Sequence[Array]) -> Array:
    """How far each query [1, Q, ...] of the source is from the nearest of the artefact's; infinite where those are broken."""
    if [one.shape for one in source] != [one.shape for one in artefact]:
        return np.full(source[0].shape[1], np.inf)
    a, b = (np.concatenate([one[0] for one in outputs], 1) for outputs in (source, artefact))
    apart: Array = np.nan_to_num(np.array([np.abs(row - b).max(1).min() for row in a]), nan=np.inf)
    return apart
