"""What the environment decides about the stack: where its state lives, from which port it counts, which workers it has."""

from pathlib import Path
from typing import Annotated

import msgspec

HIGHEST_BASE = 65000


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`MODELPORT_HOME` (state, logs, secrets), `MODELPORT_PORT_BASE` (see ports.Ports) and `MODELPORT_TOOLCHAINS` (see pools.py)."""

    home: str = ".modelport"
    port_base: Annotated[int, msgspec.Meta(ge=1024, le=HIGHEST_BASE)] = 18000
    toolchains: tuple[str, ...] = ()
    """Those that get a worker; empty: all that are installed."""

    @property
    def home_path(self) -> Path:
        return Path(self.home).resolve()
