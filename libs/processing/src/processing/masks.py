"""A mask as run lengths, which is how predictions carry it: small, exact, and of a bounded size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.errors import AnswerError
from processing.kernels import Size

MAX_RUNS = 1 << 20
"""Of all masks of one picture together: noise would make the answer larger than the picture."""

Indices = NDArray[np.intp]


class Mask(NamedTuple):
    """Pixels of a picture, COCO's uncompressed run lengths.

    `size` is (height, width); `counts` go down the columns, left to right, and begin with the number of pixels outside.
    """

    size: Size
    counts: tuple[int, ...]

    def array(self) -> NDArray[np.bool_]:
        """bool [height, width]."""
        inside = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(inside, self.counts).reshape(self.size[1], self.size[0]).T

    @property
    def area(self) -> int:
        """How many pixels are inside."""
        return sum(self.counts[1::2])

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"size": list(self.size), "counts": list(self.counts)}


def encode(region: NDArray[np.bool_], top: int, left: int, size: Size) -> Mask:
    """The mask of a picture of `size` whose pixels lie in `region`, bool [h, w], which begins at (top, left)."""
    begins_or_ends = np.empty((region.shape[0] + 1, region.shape[1]), np.bool_)
    begins_or_ends[0], begins_or_ends[-1] = region[0], region[-1]
    np.not_equal(region[1:], region[:-1], out=begins_or_ends[1:-1])
    check_runs(int(np.count_nonzero(begins_or_ends)))
    row, column = np.nonzero(begins_or_ends)
    edges = np.lexsort((row, column))
    positions = (column[edges] + left) * size[0] + row[edges] + top
    return from_runs(positions[0::2], positions[1::2], size)


def from_runs(starts: Indices, ends: Indices, size: Size) -> Mask:
    """Of pixels from `starts` to before `ends`, counted down the columns, ascending; runs that touch become one."""
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.append(True, apart)[: len(starts)]], ends[np.append(apart, True)[: len(ends)]]
    total = size[0] * size[1]
    borders = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [total]])
    counts: list[int] = np.diff(borders).tolist()
    return Mask(size, tuple(counts[:-1] if counts[-1] == 0 else counts))


def check_runs(number: int) -> None:
    """Raises AnswerError where so many would be too large an answer."""
    if number > MAX_RUNS:
        raise AnswerError(
            f"the masks of this picture need more than {MAX_RUNS} numbers; a smaller picture, a higher "
            "confidence_threshold or a lower max_detections gives fewer"
        )
