"""torch module to a Core ML program (.mlpackage) by coremltools, which converts, compresses and saves on any system."""

import copy
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import CoreMlOptions
from contracts.keys import MODEL_FILES
from contracts.model_package import TensorSpec
from contracts.precision import precision
from contracts.vocabulary import ExportFormat, Precision
from export_worker.formats import coreml_names, coreml_package
from export_worker.formats.folding import fold
from export_worker.formats.graph import Embedding, Graph, dry_run, input_words
from export_worker.formats.identity import PREFIX, as_texts, conventional, identity
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Artefact, Work
from export_worker.rewrites.table import rewrite
from export_worker.runtimes.coreml.toolchain import ct

INPUT = "images"
CLOCK = "com.github.apple.coremltools.conversion_date"
"""What coremltools writes into every model and would make two equal ones differ."""


class ConversionError(Permanent):
    """Raised with the operator that the converter stumbled over, and the module that it belongs to."""

    def __init__(self, code: str, message: str, operator: str) -> None:
        super().__init__(code, message)
        self.operator = operator


class Planes(torch.nn.Module):
    """A graph of pixels [N, H, W, 3] for planes [N, 3, H, W] of the same pixels, as Core ML hands over a picture."""

    def __init__(self, graph: torch.nn.Module, *, embedded: bool) -> None:
        super().__init__()
        self.inner, self.embedded = graph, embedded

    def forward(self, images: torch.Tensor) -> Any:
        return self.inner(images.permute(0, 2, 3, 1) if self.embedded else images)


def convert(work: Work) -> Work:
    """Writes output/model.mlpackage.zip; raises Permanent that names the operator and module which Core ML lacks."""
    loaded, options = work.need_loaded(), asked(work)
    arithmetic = precision(work.request.options, work.request.optimization)
    embedding = Embedding(loaded, options, ExportFormat.COREML)
    example = embedding.example(loaded, options.batch_size)
    expected = dry_run(embedding, example)
    graph, rewrites = rewritten(embedding)
    work.progress(0.1, "Tracing the model")
    traced = trace(graph, example, embedded=embedding.embedded)
    work.progress(0.2, f"Converting to an ML program for {options.minimum_deployment_target}")
    model = program(traced, example, embedding, options, arithmetic)
    renamed = coreml_names.names(
        list(model._mil_program.functions["main"].operations),
        [name for name, _ in graph.named_modules(remove_duplicate=False) if name],
        {INPUT, *embedding.names},
    )
    if arithmetic is Precision.INT8_WEIGHTS:
        work.progress(0.6, "Quantising weights to int8")
        model = quantised(model)
    work.progress(0.8, "Saving the package")
    told = (
        identity(work, embedding)
        | as_texts(conventional(work, embedding))
        | {
            f"{PREFIX}compute_units": options.compute_units,
            f"{PREFIX}minimum_deployment_target": options.minimum_deployment_target,
            f"{PREFIX}precision": str(arithmetic),
        }
    )
    path = work.output / MODEL_FILES[ExportFormat.COREML]
    save(model, path, embedding, renamed, told)
    layout, description = input_words(embedding)
    artefact = Artefact(
        path=path,
        export_format=ExportFormat.COREML,
        graph=embedding.graph,
        preprocessing=embedding.preprocessing,
        postprocessing=embedding.postprocessing,
        input_spec=TensorSpec(
            name=INPUT,
            shape=tuple(example.shape),
            dtype=str(example.dtype).removeprefix("torch."),
            format=layout,
            description=f"{description}; Core ML takes a picture (CVPixelBuffer)"
            if embedding.embedded
            else description,
        ),
        output_specs=tuple(
            TensorSpec(name=output.name, shape=tuple(one.shape), dtype="float32", format=output.format)
            for output, one in zip(embedding.outputs, expected, strict=True)
        ),
        toolchain={"torch": str(torch.__version__), "coremltools": ct.__version__},
        dynamic_batch=False,
        dynamic_size=False,
        batch=options.batch_size,
        precision=arithmetic,
        route=("torch", "coreml"),
        rewrites=rewrites,
    )
    return structs.replace(work, artefact=artefact)


def asked(work: Work) -> CoreMlOptions:
    """The options; raises Permanent("unsupported") for a batch of pictures, as a picture input of Core ML is one picture."""
    options = work.request.options
    if not isinstance(options, CoreMlOptions):
        raise TypeError(f"options of {type(options).__name__} reached the Core ML converter")
    if options.batch_size == 1:
        return options
    if options.embed_preprocessing:
        raise Permanent(
            "unsupported",
            f"export_config.embed_preprocessing: a Core ML model that takes pixels takes one picture, not {options.batch_size}.",
            hint="What works: batch_size 1, or embed_preprocessing false.",
        )
    return structs.replace(options, embed_preprocessing=False)


def rewritten(embedding: Embedding) -> tuple[Graph, tuple[str, ...]]:
    """The graph with a copy of the model in it that Core ML's converter can take, and what was changed."""
    model = copy.deepcopy(embedding.graph.model)
    names = rewrite(model, ExportFormat.COREML)
    return Graph(embedding.graph.pixels, model, embedding.graph.suppression).eval(), names


def trace(graph: torch.nn.Module, example: torch.Tensor, *, embedded: bool) -> Any:
    """The traced graph, float32 [N, 3, H, W] in (pixels are 0 to 255), its constants folded. Raises Permanent("conversion_failed")."""
    given = example.permute(0, 3, 1, 2).float() if embedded else example
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(Planes(graph, embedded=embedded).eval(), given, check_trace=False, strict=False)
            fold(traced, given)
    except Exception as error:  # the tracer raises whatever the model raises
        raise Permanent("conversion_failed", f"torch.jit.trace: {error_line(error)}") from error
    return traced


def program(
    traced: Any,
    example: torch.Tensor,
    embedding: Embedding,
    options: CoreMlOptions,
    arithmetic: Precision,
    *,
    draft: bool = False,
) -> Any:
    """coremltools' model of the traced graph, as a draft only its front end's program; raises ConversionError."""
    if embedding.embedded:
        shape = (1, 3, *example.shape[1:3])
        given = ct.ImageType(name=INPUT, shape=shape, color_layout=ct.colorlayout.RGB)
    else:
        given = ct.TensorType(name=INPUT, shape=tuple(example.shape), dtype=np.float32)
    width = ct.precision.FLOAT32 if arithmetic is Precision.FP32 else ct.precision.FLOAT16
    with _overheard() as heard:
        try:
            return ct.convert(
                traced,
                inputs=[given],
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in embedding.names],
                convert_to="milinternal" if draft else "mlprogram",
                pass_pipeline=ct.PassPipeline.EMPTY if draft else None,
                minimum_deployment_target=getattr(ct.target, options.minimum_deployment_target),
                compute_precision=width,
                skip_model_load=True,
            )
        except Exception as error:  # the converters of operators raise whatever their arguments make them raise
            raise _explained(error, heard) from error


class Ear(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Errors that coremltools logs: the place of a failure is told there alone. What else it says is kept from the job's log."""
    ear, logger = Ear(logging.ERROR), ct._logger
    level = logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.ERROR)
    try:
        # its bars of progress would fill the job's log
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield ear.heard
    finally:
        logger.setLevel(level)
        logger.removeHandler(ear)


PLACE = re.compile(r"converting '(?P<operator>[^']*)' op \(located at: '(?P<place>[^']*)'\)")
LACKS = re.compile(r"convert function for op '(?P<operator>[^']*)' not implemented")


def _explained(error: Exception, heard: list[str]) -> ConversionError:
    places = [found for line in heard if (found := PLACE.search(line))]
    where = places[-1]["place"].removeprefix("inner/").replace("/", ".") if places else ""
    at = f" in {where}" if where else ""
    if missing := LACKS.search(str(error)):
        name = missing["operator"]
        return ConversionError(
            "unsupported_operator", f"Core ML's converter lacks the operator {name}{at}.", f"{name}{at}"
        )
    name = places[-1]["operator"] if places else ""
    what = f"{name}{at}: " if name else ""
    return ConversionError("conversion_failed", f"coremltools: {what}{error_line(error)}", f"{name}{at}")


def quantised(model: Any) -> Any:
    """The model with int8 weights, one scale for each output channel; raises Permanent("conversion_failed")."""
    config = ct.optimize.coreml.OptimizationConfig(
        global_config=ct.optimize.coreml.OpLinearQuantizerConfig(mode="linear_symmetric")
    )
    with _overheard():
        try:
            return ct.optimize.coreml.linear_quantize_weights(model, config)
        except (ValueError, RuntimeError, TypeError) as error:
            raise Permanent("conversion_failed", f"quantising weights: {error_line(error)}") from error


def save(model: Any, path: Path, embedding: Embedding, renamed: dict[str, str], told: dict[str, str]) -> None:
    """Store the model's package at `path` with its names and what it says of itself."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        package = Path(folder) / coreml_package.PACKAGE
        model.save(str(package))
        specification = ct.models.utils.load_spec(str(package))
        coreml_names.rename(specification, renamed)
        _describe(specification.description, embedding, told)
        (package / coreml_package.SPECIFICATION).write_bytes(specification.SerializeToString(deterministic=True))
        coreml_package.write(path, package)


def _describe(description: Any, embedding: Embedding, told: dict[str, str]) -> None:
    """What Xcode shows of the model, and the user-defined metadata that programs read."""
    metadata = description.metadata
    metadata.userDefined.pop(CLOCK, None)
    metadata.userDefined.update(told)
    metadata.shortDescription = (
        f"{told[PREFIX + 'model_name']} ({told[PREFIX + 'framework']}), {told[PREFIX + 'task'].replace('_', ' ')}"
    )
    metadata.versionString = told[PREFIX + "checkpoint_sha256"][:12]
    description.input[0].shortDescription = input_words(embedding)[1]
    formats = {output.name: output.format for output in embedding.outputs}
    for output in description.output:
        output.shortDescription = formats[output.name]
