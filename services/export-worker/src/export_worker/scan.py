"""What a scanner says of a checkpoint: a label in the report, never the gate; the sandbox is the gate."""

import importlib.metadata
import logging
from pathlib import Path
from typing import Literal

from msgspec import Struct
from picklescan.scanner import SafetyLevel, scan_directory_path, scan_file_path

SHOWN = 20
Verdict = Literal["clean", "suspicious", "dangerous", "not scanned"]


class Scan(Struct, frozen=True, kw_only=True):
    """The scanner with its release, its verdict, and the calls that it minds, at most twenty."""

    tool: str
    verdict: Verdict
    found: tuple[str, ...] = ()


def scan(checkpoint: Path) -> Scan:
    """Reads opcodes and runs none; a file that the scanner cannot read is not scanned."""
    tool = f"picklescan {importlib.metadata.version('picklescan')}"
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    try:
        result = scan_directory_path(str(checkpoint)) if checkpoint.is_dir() else scan_file_path(str(checkpoint))
    except Exception:  # it parses strangers' bytes: whatever it stumbles over costs the label alone
        return Scan(tool=tool, verdict="not scanned")
    minded = [entry for entry in result.globals if entry.safety is not SafetyLevel.Innocuous]
    found = tuple(sorted({f"{entry.module}.{entry.name}"[:200] for entry in minded})[:SHOWN])
    if any(entry.safety is SafetyLevel.Dangerous for entry in minded):
        return Scan(tool=tool, verdict="dangerous", found=found)
    if result.scan_err:
        return Scan(tool=tool, verdict="not scanned", found=found)
    return Scan(tool=tool, verdict="suspicious" if found else "clean", found=found)
