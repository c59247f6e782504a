"""torch module to LiteRT (TFLite) by litert-torch, without TensorFlow: float32 first, then the weights in fewer bits where asked for."""

import copy
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import TfliteOptions
from contracts.keys import MODEL_FILES
from contracts.model_package import TensorSpec
from contracts.precision import precision
from contracts.vocabulary import ExportFormat
from export_worker.formats import graph
from export_worker.formats.graph import Embedding, dry_run
from export_worker.formats.identity import conventional, identity
from export_worker.formats.tflite_lowering import INPUT, lower
from export_worker.formats.tflite_metadata import Told, with_metadata
from export_worker.formats.tflite_precision import reduced
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Artefact, Work
from export_worker.rewrites.table import rewrite
from export_worker.runtimes.tflite import TfliteRuntime

TOOLS = ("litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "jax")

FLOAT64 = "float64_to_float32"
"""As a rewrite: what depends on no input is still computed in float64, once."""


def convert(work: Work) -> Work:
    """Writes output/model.tflite, for as many pictures at once as `batch_size` says; raises Permanent for what the converter or
    the options cannot do."""
    loaded, options = work.need_loaded(), work.request.options
    if not isinstance(options, TfliteOptions):
        raise TypeError(f"options of {type(options).__name__} reached the TFLite converter")
    asked = precision(options, work.request.optimization)
    module = copy.deepcopy(loaded.module)
    rewrites = rewrite(module, ExportFormat.TFLITE)
    embedding = Embedding(structs.replace(loaded, module=module), options, ExportFormat.TFLITE)
    example = embedding.example(loaded, options.batch_size)
    expected = dry_run(embedding, example)
    work.progress(0.1, "Lowering to LiteRT")
    lowered = lower(
        embedding.graph, embedding.names, example, lambda done: work.progress(0.1 + 0.6 * done, "Lowering to LiteRT")
    )
    if lowered.narrowed:
        rewrites = (*rewrites, FLOAT64)
    work.progress(0.7, f"Writing {asked} weights")
    path = work.output / MODEL_FILES[ExportFormat.TFLITE]
    input_spec = graph.input_spec(embedding, INPUT, example)
    output_specs = graph.output_specs(embedding, expected)
    model = reduced(lowered.model, asked)
    told = Told(identity(work, embedding), conventional(work, embedding), loaded.classes)
    described = with_metadata(model, told, embedding.preprocessing, input_spec, output_specs)
    path.write_bytes(described)
    work.progress(0.9, "Reading the file back")
    _check(path, input_spec, output_specs)
    artefact = Artefact(
        path=path,
        export_format=ExportFormat.TFLITE,
        graph=embedding.graph,
        preprocessing=embedding.preprocessing,
        postprocessing=embedding.postprocessing,
        input_spec=input_spec,
        output_specs=output_specs,
        toolchain={"torch": str(torch.__version__), **{name: version(name) for name in TOOLS}},
        dynamic_batch=False,
        dynamic_size=False,
        batch=options.batch_size,
        precision=asked,
        route=("torch", "tflite"),
        rewrites=rewrites,
    )
    return structs.replace(work, artefact=artefact)


def _check(path: Path, input_spec: TensorSpec, output_specs: Sequence[TensorSpec]) -> None:
    """Raises Permanent("conversion_failed") where the interpreter does not read what the specs say."""
    try:
        run = TfliteRuntime(path, [spec.name for spec in output_specs]).run
        found = {**run.get_input_details(), **run.get_output_details()}
    except (ValueError, RuntimeError) as error:
        raise Permanent("conversion_failed", f"LiteRT does not load the file: {error_line(error)}") from error
    for spec in (input_spec, *output_specs):
        told = found.get(spec.name)
        if told is None or (tuple(told["shape"]), np.dtype(told["dtype"]).name) != (spec.shape, spec.dtype):
            raise Permanent("conversion_failed", f"the file has no tensor {spec.name} of {spec.dtype} {spec.shape}.")
