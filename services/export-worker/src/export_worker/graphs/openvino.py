"""Counts of an OpenVINO model: layers of its model.xml, those of inner bodies included."""

import zipfile
from collections import Counter
from math import prod
from pathlib import Path
from xml.parsers import expat

from contracts.model_package import GraphSummary

XML = "model.xml"
CONSTANT = "Const"
ENDS = frozenset({"Parameter", "Result"})
"""Layers that stand for inputs and outputs."""


def summarise(path: Path) -> GraphSummary:
    """Operators as `Convolution`; `path` is the stored zip."""
    layers = _Layers()
    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = layers.begin
    with zipfile.ZipFile(path) as archive, archive.open(XML) as text:
        parser.ParseFile(text)
    return GraphSummary(operators=dict(sorted(layers.operators.items())), parameters=layers.parameters)


class _Layers:
    """One pass over the XML."""

    def __init__(self) -> None:
        self.operators: Counter[str] = Counter()
        self.parameters = 0
        self._is_constant = False

    def begin(self, name: str, told: dict[str, str]) -> None:
        if name == "layer":
            kind = told.get("type", "")
            self._is_constant = kind == CONSTANT
            if not self._is_constant and kind not in ENDS:
                self.operators[kind] += 1
        elif name == "data" and self._is_constant:
            self.parameters += prod(int(side) for side in told.get("shape", "").split(",") if side.strip())
