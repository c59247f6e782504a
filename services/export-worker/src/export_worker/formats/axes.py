"""`dynamic_axes` of a request, checked against the model and turned into what an exporter takes."""

from typing import NamedTuple

import torch

from contracts.errors import Permanent
from contracts.export_options import Axes
from export_worker.formats.graph import Embedding
from export_worker.loaded import Loaded, as_tuple

NAMES = {0: "batch", 2: "height", 3: "width"}
NHWC = {0: 0, 2: 1, 3: 2}


class DynamicAxes(NamedTuple):
    """Axis number -> name, for the input in its real layout and for each output by its name."""

    input: dict[int, str]
    outputs: dict[str, dict[int, str]]

    @property
    def batch(self) -> bool:
        return "batch" in self.input.values()

    @property
    def size(self) -> bool:
        return bool({"height", "width"} & set(self.input.values()))

    def named(self, input_name: str) -> dict[str, dict[int, str]]:
        """As torch.onnx takes them."""
        axes = {input_name: self.input, **self.outputs}
        return {name: part for name, part in axes.items() if part}


def dynamic_axes(asked: Axes | None, embedding: Embedding, loaded: Loaded) -> DynamicAxes:
    """None makes the batch dynamic. Axes are counted as in [N, 3, H, W], whatever the layout of the graph's input.

    Whatever of the outputs follows from the input becomes dynamic with it; raises Permanent("unsupported") for an axis that
    cannot be dynamic.
    """
    asked = {"input": [0], "output": [0]} if asked is None else asked
    if unknown := set(asked) - {"input", "output"}:
        raise _refused(sorted(unknown)[0], "is neither input nor output", ["input", "output"])
    wanted = set(asked.get("input", []))
    if 1 in wanted:
        raise _refused("input", "axis 1 (colour channels) is always 3", [0, 2, 3])
    produced = _output_axes(wanted, embedding, loaded)
    follows = {axis for axes in produced.values() for axis in axes}
    if extra := set(asked.get("output", [])) - follows:
        reason = f"axis {min(extra)} of {', '.join(embedding.names)} does not follow from a dynamic input axis"
        raise _refused("output", reason, sorted(follows))
    place = NHWC if embedding.embedded else {axis: axis for axis in NAMES}
    return DynamicAxes({place[axis]: NAMES[axis] for axis in sorted(wanted)}, produced)


def _output_axes(wanted: set[int], embedding: Embedding, loaded: Loaded) -> dict[str, dict[int, str]]:
    """Which axes of the outputs change with the input's: the model itself tells, at two sizes."""
    first: dict[int, str] = {0: "batch"} if 0 in wanted else {}
    produced = {name: dict(first) for name in embedding.names}
    if wanted & {2, 3}:
        for name, axes in _following_size(embedding, loaded, wanted).items():
            produced[name].update({axis: f"{name}_{axis}" for axis in axes})
    return produced


def _following_size(embedding: Embedding, loaded: Loaded, wanted: set[int]) -> dict[str, list[int]]:
    height, width = int(loaded.example.shape[2]), int(loaded.example.shape[3])
    if loaded.set_dynamic_size is not None:
        loaded.set_dynamic_size()
    larger = (height + 64 * (2 in wanted), width + 64 * (3 in wanted))
    try:
        with torch.inference_mode():
            shapes = [
                [answer.shape for answer in as_tuple(embedding.graph(embedding.example(loaded, 1, size)))]
                for size in ((height, width), larger)
            ]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise size_is_fixed(height, width, str(error).strip().splitlines()[-1][:200]) from error
    return {
        name: [axis for axis in range(1, len(one)) if one[axis] != other[axis]]
        for name, one, other in zip(embedding.names, *shapes, strict=True)
    }


def size_is_fixed(height: int, width: int, reason: str) -> Permanent:
    """The refusal of a dynamic height or width."""
    return Permanent(
        "unsupported",
        f"export_config.dynamic_axes.input: this model takes only {height}x{width} pixels: {reason}.",
        hint='What works: {"input": [0], "output": [0]}.',
    )


def _refused(field: str, reason: str, works: object) -> Permanent:
    return Permanent("unsupported", f"export_config.dynamic_axes.{field}: {reason}.", hint=f"What works: {works}.")
