"""Refuses an OpenVINO model whose XML a parser should not be given: entities, unknown operator sets, far too many layers."""

import re
from pathlib import Path

from export_worker.sandbox import zip_guard

MAX_XML_BYTES = 64 << 20
MAX_LAYERS = 200_000
_OPSET = re.compile(rb"opset[0-9]{1,3}")
_VERSION = re.compile(rb'<layer [^>]*version="([^"]*)"')


def check(path: Path) -> None:
    """Raises Permanent("conversion_failed") naming what is wrong with the stored zip."""

    def inspect(xml: bytes) -> None:
        if len(xml) > MAX_XML_BYTES:
            raise zip_guard.refused(path, f"model.xml has {len(xml)} bytes")
        if b"<!" in xml or not xml.lstrip().startswith((b"<?xml", b"<net")):
            raise zip_guard.refused(path, "model.xml declares entities or is no OpenVINO model")
        versions = _VERSION.findall(xml)
        if len(versions) > MAX_LAYERS:
            raise zip_guard.refused(path, f"model.xml has {len(versions)} layers")
        unknown = sorted({version for version in versions if not _OPSET.fullmatch(version)})
        if unknown:
            raise zip_guard.refused(
                path, f"model.xml has operators of {ascii(unknown[0])[:60]}, which is not OpenVINO's own"
            )

    zip_guard.check(path, {"model.xml": inspect, "model.bin": None})
