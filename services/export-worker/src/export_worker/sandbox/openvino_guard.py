"""Refuses an OpenVINO model whose XML a reader should not be given: entities, strange operator sets, weights outside of its own."""

import re
from pathlib import Path
from xml.parsers import expat

from contracts.errors import Permanent
from export_worker.sandbox import zip_guard
from export_worker.sandbox.zip_guard import Member

XML, BIN = "model.xml", "model.bin"
MAX_XML_BYTES = 64 << 20
MAX_LAYERS = 200_000
_OPSET = re.compile("opset[0-9]{1,3}")
_NUMBER = re.compile("[0-9]{1,15}")


def check(path: Path) -> None:
    """Raises Permanent("conversion_failed") naming what is wrong with the stored zip."""
    layers = _Layers(path)
    sizes = zip_guard.check(path, {XML: Member(MAX_XML_BYTES, layers.read), BIN: Member()})
    if layers.weights_end > sizes[BIN]:
        raise zip_guard.refused(path, f"model.xml has weights up to byte {layers.weights_end} of {sizes[BIN]}")


class _Layers:
    """One pass over one XML; `weights_end` is how far its constants reach into the weights."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._is_constant = False
        self.weights_end = 0

    def read(self, xml: bytes) -> None:
        if b"<!" in xml or not xml.lstrip().startswith((b"<?xml", b"<net")):
            raise self._refused("model.xml declares entities or is no OpenVINO model")
        parser = expat.ParserCreate("UTF-8")
        parser.StartElementHandler = self._begin
        try:
            parser.Parse(xml, True)
        except expat.ExpatError as error:
            raise self._refused(f"model.xml is no XML ({error})") from error

    def _begin(self, name: str, told: dict[str, str]) -> None:
        if name == "layer":
            self._layer(told)
        elif name == "data" and self._is_constant:
            self._weights(told)

    def _layer(self, told: dict[str, str]) -> None:
        self._count += 1
        self._is_constant = told.get("type", "").lower() == "const"
        if self._count > MAX_LAYERS:
            raise self._refused(f"model.xml has more than {MAX_LAYERS} layers")
        version = told.get("version", "")
        if not _OPSET.fullmatch(version):
            raise self._refused(f"model.xml has operators of {ascii(version)[:60]}, which is not OpenVINO's own")

    def _weights(self, told: dict[str, str]) -> None:
        ends = [told.get(name, "") for name in ("offset", "size")]
        if not all(map(_NUMBER.fullmatch, ends)):
            raise self._refused("model.xml has a constant without a place in the weights")
        self.weights_end = max(self.weights_end, sum(map(int, ends)))

    def _refused(self, reason: str) -> Permanent:
        return zip_guard.refused(self._path, reason)
