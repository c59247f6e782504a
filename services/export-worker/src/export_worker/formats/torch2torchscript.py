"""torch module to TorchScript, traced or scripted; submodules keep their names, so that a difference can be located."""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import TorchScriptOptions
from contracts.keys import MODEL_FILES
from contracts.model_package import TensorSpec
from contracts.vocabulary import ExportFormat
from export_worker.formats.graph import Embedding, dry_run, input_spec, output_specs
from export_worker.formats.identity import conventional, identity
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Artefact, Work, as_tuple

INPUT = "images"
WRITERS_OWN = frozenset({"version", "byteorder", ".data/serialization_id", ".format_version", ".storage_alignment"})
"""Records that torch's writer adds to every archive."""
IDENTITY = "modelport.json"
"""What the program says of itself, read by `torch.jit.load(…, _extra_files={"modelport.json": ""})`."""
CONVENTIONAL = "config.txt"
"""The same for class names, where Ultralytics looks for them."""


def convert(work: Work) -> Work:
    """Writes output/model.torchscript; raises Permanent for what tracing, scripting or the options cannot do."""
    loaded, options = work.need_loaded(), work.request.options
    if not isinstance(options, TorchScriptOptions):
        raise TypeError(f"options of {type(options).__name__} reached the TorchScript converter")
    embedding = Embedding(loaded, options, ExportFormat.TORCHSCRIPT)
    example = embedding.example(loaded, options.batch_size)
    expected = dry_run(embedding, example)
    work.progress(0.2, f"TorchScript by {options.method}")
    path = work.output / MODEL_FILES[ExportFormat.TORCHSCRIPT]
    _save(embedding, example, options, path)
    path.write_bytes(
        described(path, {IDENTITY: identity(work, embedding), CONVENTIONAL: conventional(work, embedding)})
    )
    work.progress(0.8, "Reading the file back")
    dynamic = _takes_other_batches(path, embedding, example)
    artefact = Artefact(
        path=path,
        export_format=ExportFormat.TORCHSCRIPT,
        graph=embedding.graph,
        preprocessing=embedding.preprocessing,
        postprocessing=embedding.postprocessing,
        input_spec=input_spec(embedding, INPUT, example, dynamic=dynamic),
        output_specs=_output_specs(path, example, embedding, expected, dynamic=dynamic),
        toolchain={"torch": str(torch.__version__)},
        dynamic_batch=dynamic,
        dynamic_size=False,
        batch=options.batch_size,
        route=("torch", "torchscript"),
    )
    return structs.replace(work, artefact=artefact)


def _save(embedding: Embedding, example: torch.Tensor, options: TorchScriptOptions, path: Path) -> None:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            if options.method == "script":
                module = torch.jit.script(embedding.graph)
            else:
                module = torch.jit.trace(embedding.graph, example, check_trace=False, strict=False)
            torch.jit.save(module, str(path))
    except Exception as error:  # the compiler raises whatever its front end stumbles over
        if options.method == "trace":
            raise Permanent("conversion_failed", f"torch.jit.trace: {error_line(error)}") from error
        raise Permanent(
            "unsupported",
            f"export_config.method: this model cannot be scripted: {error_line(error)}",
            hint='What works: "trace".',
        ) from error


def described(path: Path, told: Mapping[str, Mapping[str, object]]) -> bytes:
    """The same program with what it says of itself, by extra file, and without its debug records, which name files of the machine that traced it."""
    saved = torch._C.PyTorchFileReader(str(path))
    target = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(target)
    for name in saved.get_all_records():
        if not name.endswith(".debug_pkl") and name not in WRITERS_OWN:
            body = saved.get_record(name)
            writer.write_record(name, body, len(body))
    for name, values in told.items():
        body = json.dumps(dict(values), ensure_ascii=False, sort_keys=name == IDENTITY).encode()
        writer.write_record(f"extra/{name}", body, len(body))
    writer.write_end_of_file()
    return target.getvalue()


def _takes_other_batches(path: Path, embedding: Embedding, example: torch.Tensor) -> bool:
    """Whether the saved program gives for a batch one larger what the source gives; a trace may have fixed the batch."""
    larger = torch.cat([example, example[:1]])
    try:
        with torch.inference_mode():
            made = torch.jit.load(str(path), map_location="cpu")(larger)
            wanted = embedding.graph(larger)
    except RuntimeError:
        return False
    pairs = zip(as_tuple(made), as_tuple(wanted), strict=True)
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)


def _output_specs(
    path: Path, example: torch.Tensor, embedding: Embedding, expected: Sequence[torch.Tensor], *, dynamic: bool
) -> tuple[TensorSpec, ...]:
    """As the saved program answers; raises Permanent("conversion_failed") if that is not what the source answers."""
    with torch.inference_mode():
        made = as_tuple(torch.jit.load(str(path), map_location="cpu")(example))
    if [one.shape for one in made] != [one.shape for one in expected]:
        raise Permanent("conversion_failed", "the saved program answers with another number or shape of tensors.")
    return output_specs(embedding, made, dynamic=dynamic)
