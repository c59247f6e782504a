"""`python -m bench.zoo [--only NAME…] [--formats …] [--resume] [--write]`: what a preflight says of every architecture, and what became of it.

Each model of `bench.zoo_models` is made with random weights, looked at by the preflight's analysis, and exported to all six formats by the
worker's own child, whatever the preflight said. Every end is a line of .cache/zoo/cells.jsonl; `--write` writes docs/zoo.md of them.
"""

import argparse
import os
import queue
import shutil
import sys
import threading
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import msgspec

from bench.zoo_cells import WORK, Cell, Crew, cells
from bench.zoo_models import ZOO, Model
from bench.zoo_report import write
from contracts.vocabulary import ExportFormat, Framework

CELLS = WORK / "cells.jsonl"


def run(models: Sequence[Model], formats: Sequence[ExportFormat], known: set[tuple[str, ExportFormat]]) -> None:
    """Two models at a time; each cell is appended to the file as it ends."""
    waiting: queue.SimpleQueue[Model] = queue.SimpleQueue()
    for model in _mixed(models):
        waiting.put(model)
    lock = threading.Lock()

    def serve(root: Path) -> None:
        with Crew("core") as core, Crew("litert") as litert:
            while True:
                try:
                    model = waiting.get_nowait()
                except queue.Empty:
                    shutil.rmtree(root, ignore_errors=True)
                    return
                missing = [target for target in formats if (model.label, target) not in known]
                try:
                    for cell in cells(model, missing, {"core": core, "litert": litert}, root) if missing else ():
                        with lock, CELLS.open("ab") as file:
                            file.write(msgspec.json.encode(cell) + b"\n")
                            print(_said(cell), flush=True)
                except RuntimeError as error:
                    print(error, flush=True)

    servers = [threading.Thread(target=serve, args=(WORK / f"jobs-{os.getpid()}-{number}",)) for number in range(2)]
    for server in servers:
        server.start()
    for server in servers:
        server.join()


def _mixed(models: Sequence[Model]) -> list[Model]:
    """One of each framework in turns, so that a run that is cut short has seen them all."""
    groups = [[model for model in models if model.framework is framework] for framework in Framework]
    return [model for row in zip_longest(*groups) for model in row if model is not None]


def _said(cell: Cell) -> str:
    mark = "right" if cell.is_right else "MISSED" if cell.foretold.supported else "FALSE ALARM"
    end = (
        f"{cell.proof} {cell.max_abs:.1e}" if cell.proof else f"failed {cell.code} {cell.operator} {cell.message[:160]}"
    )
    alarm = (
        ""
        if cell.foretold.supported
        else f" | foretold: {cell.foretold.code} {cell.foretold.operator} {cell.foretold.reason[:160]}"
    )
    return f"{mark:6} {cell.label:36} {cell.format:11} {cell.seconds:6.1f} s  {end}{alarm}"


def read() -> list[Cell]:
    """The last word about each cell, in the order of the zoo."""
    if not CELLS.is_file():
        return []
    told = [msgspec.json.decode(line, type=Cell) for line in CELLS.read_bytes().splitlines()]
    last = {(cell.label, cell.format): cell for cell in told if cell.label in ZOO}
    return sorted(last.values(), key=lambda cell: (list(ZOO).index(cell.label), list(ExportFormat).index(cell.format)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.zoo", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="NAME", help="models whose label has one of these in it"
    )
    parser.add_argument("--formats", nargs="*", type=ExportFormat, default=list(ExportFormat))
    parser.add_argument("--resume", action="store_true", help="leave out what .cache/zoo/cells.jsonl has")
    parser.add_argument("--write", action="store_true", help="write docs/zoo.md")
    options = parser.parse_args(arguments)
    chosen = [model for label, model in ZOO.items() if not options.only or any(name in label for name in options.only)]
    WORK.mkdir(parents=True, exist_ok=True)
    known = {(cell.label, cell.format) for cell in read()} if options.resume else set()
    run(chosen, options.formats, known)
    if options.write:
        write(read())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
