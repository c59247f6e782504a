"""coremltools, quietly and in the one order of imports that every process survives: torch and triton first."""

import logging
from importlib import import_module
from typing import Any


def imported(name: str) -> Any:
    """A module of coremltools, imported without its warnings."""
    # it warns of every library that only Apple's systems have, and of every release of torch younger than itself
    logging.disable(logging.WARNING)
    try:
        return import_module(name)
    finally:
        logging.disable(logging.NOTSET)


for _earlier in ("torch", "triton"):
    import_module(_earlier)
ct: Any = imported("coremltools")
read_program: Any = imported("coremltools.converters.mil.frontend.milproto.load").load
"""Specification and folder of weights -> program."""
