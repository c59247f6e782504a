"""`dynamic_axes` of a request, checked against the model and turned into what an exporter takes."""

from typing import NamedTuple

from contracts.errors import Permanent
from contracts.export_options import Axes
from export_worker.loaded import Loaded

NAMES = {0: "batch", 2: "height", 3: "width"}
NHWC = {0: 0, 2: 1, 3: 2}


class DynamicAxes(NamedTuple):
    """Axis number -> name, for the input in its real layout and for the output."""

    input: dict[int, str]
    output: dict[int, str]

    @property
    def batch(self) -> bool:
        return "batch" in self.input.values()

    @property
    def size(self) -> bool:
        return bool({"height", "width"} & set(self.input.values()))

    def named(self, input_name: str, output_name: str) -> dict[str, dict[int, str]]:
        """As torch.onnx takes them."""
        axes = {input_name: self.input, output_name: self.output}
        return {name: part for name, part in axes.items() if part}


def dynamic_axes(asked: Axes | None, *, nhwc: bool, output: str, loaded: Loaded) -> DynamicAxes:
    """None makes the batch dynamic. Axes are counted as in [N, 3, H, W], whatever the layout of the graph's input.

    Whatever of the output follows from the input becomes dynamic with it; raises Permanent("unsupported") for an axis that
    cannot be dynamic.
    """
    asked = {"input": [0], "output": [0]} if asked is None else asked
    if unknown := set(asked) - {"input", "output"}:
        raise _refused(sorted(unknown)[0], "is neither input nor output", ["input", "output"])
    wanted = set(asked.get("input", []))
    if 1 in wanted:
        raise _refused("input", "axis 1 (colour channels) is always 3", [0, 2, 3])
    produced = _output_axes(wanted, output, loaded)
    if extra := set(asked.get("output", [])) - set(produced):
        reason = f"axis {min(extra)} of {output} does not follow from a dynamic input axis"
        raise _refused("output", reason, sorted(produced))
    place = NHWC if nhwc else {axis: axis for axis in NAMES}
    return DynamicAxes({place[axis]: NAMES[axis] for axis in sorted(wanted)}, produced)


def _output_axes(wanted: set[int], output: str, loaded: Loaded) -> dict[int, str]:
    produced = {0: "batch"} if 0 in wanted else {}
    if wanted & {2, 3} and output == "output0":
        produced[2] = "anchors"
    return produced


def _refused(field: str, reason: str, works: object) -> Permanent:
    return Permanent("unsupported", f"export_config.dynamic_axes.{field}: {reason}.", hint=f"What works: {works}.")
