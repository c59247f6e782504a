"""`make gen` writes the generated documents; `--check` fails, naming the file, where one of them is out of date."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import json

from contracts import asyncapi, reference
from contracts.model_package import metadata_json_schema


def _pretty(document: object) -> bytes:
    return json.format(json.encode(document), indent=2) + b"\n"


def _openapi() -> bytes:
    """The gateway prints its own description; a process of its own, because contracts import no service."""
    printed = subprocess.run([sys.executable, "-m", "gateway.describe"], stdout=subprocess.PIPE, check=True).stdout
    return json.format(printed, indent=2) + b"\n"


DOCUMENTS: dict[str, Callable[[], bytes]] = {
    "events.md": lambda: reference.render().encode(),
    "asyncapi.json": lambda: _pretty(asyncapi.document()),
    "metadata.schema.json": lambda: _pretty(metadata_json_schema()),
    "openapi.json": _openapi,
}


def main(arguments: list[str]) -> int:
    """Run in the root of the checkout; exit code 1 where `--check` finds a difference."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m contracts.generate [--check]", file=sys.stderr)
        return 2
    folder = Path("docs")
    if not folder.is_dir():
        print("there is no folder docs here: run this in the root of the checkout", file=sys.stderr)
        return 2
    stale = [name for name, make in DOCUMENTS.items() if not _settle(folder / name, make(), write=not arguments)]
    for name in stale:
        print(
            f"{folder / name} is out of date: run `make gen`" if arguments else f"wrote {folder / name}",
            file=sys.stderr,
        )
    return 1 if stale and arguments else 0


def _settle(path: Path, wanted: bytes, *, write: bool) -> bool:
    """Whether the file is as wanted already; writes it where that is allowed."""
    if path.is_file() and path.read_bytes() == wanted:
        return True
    if write:
        path.write_bytes(wanted)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
