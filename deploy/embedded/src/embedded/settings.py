"""What the environment decides about the stack: where its state lives and from which port it counts."""

from pathlib import Path
from typing import Annotated

import msgspec

HIGHEST_BASE = 65000


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`MODELPORT_HOME` (state, logs, secrets) and `MODELPORT_PORT_BASE` (see ports.Ports)."""

    home: str = ".modelport"
    port_base: Annotated[int, msgspec.Meta(ge=1024, le=HIGHEST_BASE)] = 18000

    @property
    def home_path(self) -> Path:
        return Path(self.home).resolve()
