"""torch module to ONNX by torch's TorchScript-based exporter, which honours every opset from 13 to 20."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import CommonOptions, OnnxOptions
from contracts.keys import MODEL_FILES
from contracts.model_package import TensorSpec
from contracts.precision import precision
from contracts.vocabulary import ExportFormat
from export_worker.formats.axes import DynamicAxes, dynamic_axes, size_is_fixed
from export_worker.formats.graph import Embedding, dry_run, input_words
from export_worker.formats.identity import as_texts, conventional, identity
from export_worker.formats.onnx_precision import lower
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Artefact, Loaded, Work, as_tuple
from export_worker.parity.compare import Comparison
from export_worker.parity.tolerances import tolerance
from export_worker.rewrites.table import rewritten
from export_worker.runtimes.onnx import OnnxRuntime

INPUT = "images"
MAX_IR_VERSION = 10
"""What every ONNX Runtime since 1.19 reads, Triton's included."""


class OperatorError(Permanent):
    """An operator of the model that the opset lacks; `told` is torch's sentence about it."""

    def __init__(self, opset: int, told: str) -> None:
        super().__init__("unsupported_operator", f"ONNX opset {opset} lacks an operator of this model: {told}")
        named = re.search(r"\w+::\w+", told)
        self.operator = named[0] if named else ""


def convert(work: Work) -> Work:
    """Writes and checks output/model.onnx, or tmp/model.onnx on the way to another format.

    Raises Permanent for what the exporter or the options cannot do.
    """
    loaded = work.need_loaded()
    options, last = _options(work), work.request.export_format is ExportFormat.ONNX
    module, rewrites = rewritten(loaded.module, ExportFormat.ONNX)
    loaded = structs.replace(loaded, module=module)
    embedding = Embedding(loaded, work.request.options, ExportFormat.ONNX)
    axes = dynamic_axes(options.dynamic_axes, embedding, loaded)
    if axes.size and options.embed_nms:
        raise Permanent(
            "unsupported", "export_config.embed_nms: suppression in the graph needs a fixed height and width."
        )
    path = (work.output if last else work.folder / "tmp") / MODEL_FILES[ExportFormat.ONNX]
    path.parent.mkdir(exist_ok=True)
    work.progress(0.1, f"Writing ONNX with opset {options.opset_version}")
    example = embedding.example(loaded, options.batch_size)
    expected = dry_run(embedding, example)
    _export(embedding, example, path, options, axes.named(INPUT))
    work.progress(0.8, "Checking the ONNX file")
    if axes.size:
        check_other_size(path, embedding, loaded, axes)
    told = identity(work, embedding) | as_texts(conventional(work, embedding))
    _finish(
        path, options, {name: tuple(one.shape) for name, one in zip(embedding.names, expected, strict=True)}, axes, told
    )
    arithmetic = precision(work.request.options, work.request.optimization)
    if last:
        lower(path, arithmetic, work.request.optimization)
    input_spec, output_specs = _specs(path, embedding)
    artefact = Artefact(
        path=path,
        export_format=ExportFormat.ONNX,
        graph=embedding.graph,
        preprocessing=embedding.preprocessing,
        postprocessing=embedding.postprocessing,
        input_spec=input_spec,
        output_specs=output_specs,
        toolchain={"torch": str(torch.__version__), "onnx": onnx.__version__},
        dynamic_batch=axes.batch,
        dynamic_size=axes.size,
        batch=options.batch_size,
        precision=arithmetic,
        route=("torch", "onnx"),
        rewrites=rewrites,
    )
    return structs.replace(work, artefact=artefact)


def _options(work: Work) -> OnnxOptions:
    """The request's own, or those that its two-stage format has in common with ONNX."""
    options = work.request.options
    if isinstance(options, OnnxOptions):
        return options
    return OnnxOptions(**{name: getattr(options, name) for name in CommonOptions.__struct_fields__})


def _export(
    embedding: Embedding, example: torch.Tensor, path: Path, options: OnnxOptions, axes: dict[str, dict[int, str]]
) -> None:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                embedding.graph, (example,), str(path), dynamo=False, opset_version=options.opset_version,
                input_names=[INPUT], output_names=embedding.names, dynamic_axes=axes,
                do_constant_folding=options.optimize_for_inference,
            )  # fmt: skip
    except torch.onnx.errors.UnsupportedOperatorError as error:
        raise OperatorError(options.opset_version, error_line(error)) from error
    except (RuntimeError, ValueError, TypeError, NotImplementedError, torch.onnx.errors.OnnxExporterError) as error:
        raise Permanent("conversion_failed", f"torch's ONNX exporter: {error_line(error)}") from error


def check_other_size(path: Path, embedding: Embedding, loaded: Loaded, axes: DynamicAxes) -> None:
    """Run the file on a larger input; raises Permanent("unsupported") where only the traced size works or gives what the source gives."""
    height, width = int(loaded.example.shape[2]), int(loaded.example.shape[3])
    named = axes.input.values()
    size = (height + 64 * ("height" in named), width + 32 * ("width" in named))
    example = embedding.example(loaded, 1, size)
    noise = np.random.default_rng(0).integers(0, 256, tuple(example.shape))
    tensor = torch.from_numpy(noise).to(example.dtype) / (1 if example.dtype == torch.uint8 else 255)
    tensor = tensor.to(example.dtype)
    try:
        with torch.inference_mode():
            expected = [answer.numpy() for answer in as_tuple(embedding.graph(tensor))]
        made = OnnxRuntime(path)(tensor.numpy())
    except Exception as error:  # torch and ONNX Runtime raise whatever the first operator that minds the size raises
        raise size_is_fixed(height, width, error_line(error)) from error
    post, limits = embedding.postprocessing, tolerance(ExportFormat.ONNX)
    comparison = Comparison.described(embedding.names, post, len(loaded.classes), limits)
    comparison.add(expected, made)
    if not comparison.within:
        raise size_is_fixed(height, width, f"at {list(size)} the file answers something else than the source")


def _finish(
    path: Path,
    options: OnnxOptions,
    shapes: Mapping[str, tuple[int, ...]],
    axes: DynamicAxes,
    told: Mapping[str, str],
) -> None:
    """Check the file and its opset, bound its IR version, write the dimensions that the exporter lost track of and what it says of itself."""
    model = onnx.load(str(path), load_external_data=False)
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if opset != options.opset_version:
        raise Permanent(
            "conversion_failed", f"opset {options.opset_version} was asked for, the exporter wrote {opset}."
        )
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    for output in model.graph.output:
        for axis, dimension in enumerate(output.type.tensor_type.shape.dim):
            if axis not in axes.outputs[output.name] and not dimension.HasField("dim_value"):
                dimension.dim_value = shapes[output.name][axis]
    onnx.helper.set_model_props(model, dict(told))
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise Permanent(
            "conversion_failed", f"the ONNX checker refuses the exported file: {error_line(error)}"
        ) from error
    onnx.save(model, str(path))


def _specs(path: Path, embedding: Embedding) -> tuple[TensorSpec, tuple[TensorSpec, ...]]:
    """The tensors that the finished file declares."""
    graph = onnx.load(str(path), load_external_data=False).graph
    layout, pixels = input_words(embedding)
    formats = dict(embedding.outputs)
    outputs = tuple(_spec(value, formats[value.name], embedding.description) for value in graph.output)
    return _spec(graph.input[0], layout, pixels), outputs


def _spec(value: onnx.ValueInfoProto, layout: str, description: str) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(int(d.dim_value) if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(name=value.name, shape=shape, dtype=dtype, format=layout, description=description)
