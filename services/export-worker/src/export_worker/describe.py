"""The draft of metadata.json: every value read back from the checkpoint, the artefact or a measurement."""

import hashlib
import os
from pathlib import Path

import msgspec

from contracts.events.export import ExportRequestedV1
from contracts.keys import PACKAGED_MODELS
from contracts.model_package import (
    GraphSummary,
    ModelClass,
    ModelInfo,
    ModelMetadata,
    ParitySummary,
    Performance,
    Provenance,
    Sizes,
)
from export_worker import registry
from export_worker.loaded import Artefact, Loaded, Work


def draft(request: ExportRequestedV1, loaded: Loaded, artefact: Artefact) -> dict[str, object]:
    """What a pipeline needs to run the artefact: metadata.json without what the parity gate will measure."""
    info = ModelInfo(
        framework=request.framework,
        task_type=request.task_type,
        model_name=request.model_name,
        export_format=request.export_format,
        version=request.version,
    )
    classes = [ModelClass(id=number, name=name) for number, name in enumerate(loaded.classes)]
    return {
        "schema_version": 1,
        "model_info": msgspec.to_builtins(info),
        "model_file": PACKAGED_MODELS[request.export_format],
        "precision": str(artefact.precision),
        "portability": artefact.portability,
        "preprocessing": msgspec.to_builtins(artefact.preprocessing),
        "postprocessing": msgspec.to_builtins(artefact.postprocessing),
        "input_spec": msgspec.to_builtins(artefact.input_spec),
        "output_spec": {spec.name: msgspec.to_builtins(spec) for spec in artefact.output_specs},
        "classes": msgspec.to_builtins(classes),
    }


def metadata(
    work: Work, draft: dict[str, object], parity: ParitySummary, performance: Performance | None
) -> ModelMetadata:
    """The whole of metadata.json but for `runtime_wrappers` and `files`, which the packager knows."""
    loaded, artefact = work.need_loaded(), work.need_artefact()
    size = artefact.path.stat().st_size
    provenance = Provenance(
        checkpoint_sha256=sha256(work.checkpoint),
        export_options=msgspec.to_builtins(work.request.options),
        optimization=msgspec.to_builtins(work.request.optimization),
        toolchain={**loaded.toolchain, **artefact.toolchain},
        route=artefact.route,
        rewrites=artefact.rewrites,
    )
    measured = {
        "parity": msgspec.to_builtins(parity),
        "provenance": msgspec.to_builtins(provenance),
        "sizes": msgspec.to_builtins(
            Sizes(
                original_size_bytes=loaded.source_size_bytes,
                exported_size_bytes=size,
                compression_ratio=round(loaded.source_size_bytes / size, 4),
            )
        ),
        "performance": msgspec.to_builtins(performance),
        "graph": msgspec.to_builtins(graph(artefact)),
    }
    return msgspec.convert({**draft, **measured}, ModelMetadata)


def graph(artefact: Artefact) -> GraphSummary | None:
    """The artefact's operators, counted in its own file; None for a format that cannot be read without its device."""
    entry = registry.GRAPHS.get(artefact.export_format)
    if entry is None:
        return None
    summary: GraphSummary = registry.resolve(entry)(artefact.path)
    return summary


def hardware() -> str:
    """The processor's name, as /proc/cpuinfo tells it, and how many cores this process may use."""
    name = "unknown CPU"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def sha256(path: Path) -> str:
    """Hex digest: of a file's bytes; of a folder's sorted names and digests."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
