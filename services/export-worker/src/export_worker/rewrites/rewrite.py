"""What a rewrite is."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from contracts.vocabulary import ExportFormat


class Rewrite(NamedTuple):
    """One change to a module before it is converted.

    name     as metadata.json and the preflight show it
    targets  the formats whose converters need it
    reason   what fails without it
    apply    changes the module in place, keeping what it answers; says whether there was anything to change
    """

    name: str
    targets: frozenset[ExportFormat]
    reason: str
    apply: Callable[[torch.nn.Module], bool]
