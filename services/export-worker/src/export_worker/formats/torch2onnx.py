"""torch module to ONNX by torch's TorchScript-based exporter, which honours every opset from 13 to 20."""

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import OnnxOptions
from contracts.keys import MODEL_FILES
from contracts.model_package import TensorSpec
from contracts.vocabulary import ExportFormat
from export_worker.formats.axes import DynamicAxes, dynamic_axes
from export_worker.formats.graph import Embedding, dry_run
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Artefact, Loaded, Work
from export_worker.parity.tolerances import tolerance
from export_worker.runtimes.onnx import OnnxRuntime

INPUT = "images"
MAX_IR_VERSION = 10
"""What every ONNX Runtime since 1.19 reads, Triton's included."""


def convert(work: Work) -> Work:
    """Writes and checks output/model.onnx; raises Permanent for what the exporter or the options cannot do."""
    loaded, options = work.need_loaded(), work.request.options
    if not isinstance(options, OnnxOptions):
        raise TypeError(f"options of {type(options).__name__} reached the ONNX converter")
    embedding = Embedding(loaded, options, onnx=True)
    axes = dynamic_axes(options.dynamic_axes, nhwc=embedding.embedded, output=embedding.output_name, loaded=loaded)
    if axes.size and options.embed_nms:
        raise Permanent(
            "unsupported", "export_config.embed_nms: suppression in the graph needs a fixed height and width."
        )
    if axes.size and loaded.set_dynamic_size is not None:
        loaded.set_dynamic_size()
    path = work.output / MODEL_FILES[ExportFormat.ONNX]
    work.progress(0.1, f"Writing ONNX with opset {options.opset_version}")
    example = embedding.example(loaded, options.batch_size)
    expected = dry_run(embedding, example)
    _export(embedding, example, path, options, axes.named(INPUT, embedding.output_name))
    work.progress(0.8, "Checking the ONNX file")
    if axes.size:
        check_other_size(path, embedding, loaded, axes)
    _finish(path, options, tuple(expected.shape), axes.output)
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
    )
    return structs.replace(work, artefact=artefact)


def _export(
    embedding: Embedding, example: torch.Tensor, path: Path, options: OnnxOptions, axes: dict[str, dict[int, str]]
) -> None:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                embedding.graph, (example,), str(path), dynamo=False, opset_version=options.opset_version,
                input_names=[INPUT], output_names=[embedding.output_name], dynamic_axes=axes,
                do_constant_folding=options.optimize_for_inference,
            )  # fmt: skip
    except torch.onnx.errors.UnsupportedOperatorError as error:
        raise Permanent(
            "unsupported_operator",
            f"ONNX opset {options.opset_version} lacks an operator of this model: {error_line(error)}",
        ) from error
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
            expected = embedding.graph(tensor).numpy()
        made = OnnxRuntime(path)(tensor.numpy())[0]
    except Exception as error:  # torch and ONNX Runtime raise whatever the first operator that minds the size raises
        raise _size_is_fixed(height, width, error_line(error)) from error
    limits = tolerance(ExportFormat.ONNX)
    allowed = max(limits.relative * float(np.abs(expected).max()), limits.absolute)
    if made.shape != expected.shape or not float(np.abs(made - expected).max()) <= allowed:
        raise _size_is_fixed(height, width, f"at {list(size)} the file answers something else than the source")


def _size_is_fixed(height: int, width: int, reason: str) -> Permanent:
    return Permanent(
        "unsupported",
        f"export_config.dynamic_axes.input: this model takes only {height}x{width} pixels: {reason}.",
        hint='What works: {"input": [0], "output": [0]}.',
    )


def _finish(path: Path, options: OnnxOptions, shape: tuple[int, ...], dynamic: Collection[int]) -> None:
    """Check the file and its opset, bound its IR version, write the output dimensions that the exporter lost track of."""
    model = onnx.load(str(path), load_external_data=False)
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if opset != options.opset_version:
        raise Permanent(
            "conversion_failed", f"opset {options.opset_version} was asked for, the exporter wrote {opset}."
        )
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    for axis, dimension in enumerate(model.graph.output[0].type.tensor_type.shape.dim):
        if axis not in dynamic and not dimension.HasField("dim_value"):
            dimension.dim_value = shape[axis]
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
    layout, pixels = ("NHWC", "uint8 RGB pixels") if embedding.embedded else ("NCHW", "normalised RGB")
    outputs = tuple(_spec(value, embedding.output_format, embedding.description) for value in graph.output)
    return _spec(graph.input[0], layout, pixels), outputs


def _spec(value: onnx.ValueInfoProto, layout: str, description: str) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(int(d.dim_value) if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(name=value.name, shape=shape, dtype=dtype, format=layout, description=description)
