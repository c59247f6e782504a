"""Which checkpoints run no code when they are opened: the only ones that a worker without a sandbox takes."""

import zipfile
from pathlib import Path, PurePosixPath

from contracts.errors import Permanent
from contracts.vocabulary import Framework
from export_worker.frameworks.checkpoints import sniff

HARMLESS = frozenset({".safetensors", ".json", ".txt", ".md"})
"""What Hugging Face's loaders may meet in a folder; anything else could be a pickle or code."""


def require(checkpoint: Path, framework: Framework) -> None:
    """Raises Permanent("checkpoint_needs_sandbox") for what is not weights in safetensors, naming what it is."""
    reason = _REASONS[framework](checkpoint)
    if reason:
        raise Permanent("checkpoint_needs_sandbox", f"This worker has no sandbox and {reason}.")


def _timm(checkpoint: Path) -> str:
    """Looks at a pickle only as far as to see that it is none of safetensors."""
    with checkpoint.open("rb") as file:
        begins = file.read(9)[8:] == b"{"
    return "" if begins and sniff(checkpoint) == "safetensors" else f"{checkpoint.name} is no safetensors file"


def _huggingface(checkpoint: Path) -> str:
    if checkpoint.is_dir():
        names = [str(file.relative_to(checkpoint)) for file in checkpoint.rglob("*") if file.is_file()]
    else:
        try:
            with zipfile.ZipFile(checkpoint) as archive:
                names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Permanent("checkpoint_unreadable", f"{checkpoint.name} is no zip: {error}.") from error
    other = [name for name in names if PurePosixPath(name).suffix.lower() not in HARMLESS]
    if other:
        return f"{checkpoint.name} holds {ascii(other[0])[:80]}, which may run code"
    return "" if any(name.endswith(".safetensors") for name in names) else f"{checkpoint.name} has no safetensors"


def _ultralytics(checkpoint: Path) -> str:
    return f"{checkpoint.name}, as every Ultralytics checkpoint, runs code when it is opened"


_REASONS = {Framework.TIMM: _timm, Framework.HUGGINGFACE: _huggingface, Framework.ULTRALYTICS: _ultralytics}
