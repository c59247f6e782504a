"""A tiny segmentation model of two outputs, as ONNX, OpenVINO or TorchScript, with metadata and golden vectors."""

import io
import zipfile
from pathlib import Path

import msgspec
import openvino
import torch

from contracts import keys
from contracts import model_package as mp
from contracts import vocabulary as v

from .conftest import Artefact, make_metadata, write_goldens


class Segmenter(torch.nn.Module):
    """[1, 3, 32, 48] to [1, 8, 2] (a box scored by the mean red, one by the mean green) and prototypes [1, 1, 8, 12]."""

    def __init__(self) -> None:
        super().__init__()
        boxes = [[24.0, 40.0], [16.0, 10.0], [20.0, 8.0], [12.0, 8.0]]
        self.register_buffer("boxes", torch.tensor([boxes]))
        self.register_buffer("disc", 1 - torch.linspace(-1, 1, 8)[:, None] ** 2 - torch.linspace(-2, 2, 12)[None] ** 2)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = images.mean((2, 3)).reshape(1, 3, 1) * torch.tensor([1.0, 0.8])
        rows = torch.cat([self.boxes, means, torch.ones(1, 1, 2)], 1)
        return rows, self.disc[None, None] + images.mean() * 0.1


def make_segmenter(folder: Path, export_format: v.ExportFormat) -> Artefact:
    """What a worker would leave behind."""
    metadata = _metadata(export_format)
    stored = keys.MODEL_FILES[export_format]
    files = {name: folder / name for name in (stored, keys.PARITY_REPORT, keys.GOLDENS, keys.LOG)}
    reference = folder / "reference.onnx"
    module, example = Segmenter().eval(), torch.zeros(1, 3, 32, 48)
    names = {"input_names": ["images"], "output_names": ["output0", "output1"]}
    torch.onnx.export(module, (example,), str(reference), dynamo=False, opset_version=17, **names)
    files[stored].write_bytes(WRITERS[export_format](module, example, reference))
    write_goldens(files[keys.GOLDENS], metadata, reference)
    files[keys.PARITY_REPORT].write_text('{"proof": "verified"}')
    files[keys.LOG].write_text("step by step\n")
    return Artefact(metadata, files)


def _metadata(export_format: v.ExportFormat) -> mp.ModelMetadata:
    replace = msgspec.structs.replace
    plain = make_metadata(detects=True, export_format=export_format, names=("red", "green", "blue"))
    shapes = {"output0": (1, 8, 2), "output1": (1, 1, 8, 12)}
    return replace(
        plain,
        model_info=replace(plain.model_info, task_type=v.TaskType.INSTANCE_SEGMENTATION),
        postprocessing=replace(plain.postprocessing, decoder=v.Decoder.YOLO_V8_SEGMENT),
        output_spec={
            name: mp.TensorSpec(name=name, shape=shape, dtype="float32", format="raw") for name, shape in shapes.items()
        },
    )


def _openvino(_module: torch.nn.Module, _example: torch.Tensor, reference: Path) -> bytes:
    folder = reference.parent / "openvino"
    openvino.save_model(openvino.convert_model(str(reference)), folder / "model.xml", compress_to_fp16=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("model.bin", "model.xml"):
            archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
    return buffer.getvalue()


def _torchscript(module: torch.nn.Module, example: torch.Tensor, _reference: Path) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, example), buffer)
    return buffer.getvalue()


WRITERS = {
    v.ExportFormat.ONNX: lambda _module, _example, reference: reference.read_bytes(),
    v.ExportFormat.OPENVINO: _openvino,
    v.ExportFormat.TORCHSCRIPT: _torchscript,
}
