"""What travels inside an exported graph around the model: normalisation of uint8 pixels before it, suppression of boxes after it."""

from collections.abc import Sequence
from typing import Any

import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import ExportOptions, OpenVinoOptions
from contracts.model_package import Normalize, Postprocessing, Preprocessing, TensorSpec
from contracts.vocabulary import Decoder, ExportFormat
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Loaded, Output, as_tuple

EMBEDDED_CONFIDENCE = 0.001
"""Baked into a graph that suppresses: low, so that any higher threshold asked for later is honoured."""


class Pixels(torch.nn.Module):
    """uint8 [N, H, W, 3] to the normalised float32 [N, 3, H, W] that the model was trained on."""

    def __init__(self, normalize: Normalize) -> None:
        super().__init__()
        self.scale = normalize.scale
        self.plain = not any(normalize.mean) and set(normalize.std) == {1.0}
        self.register_buffer("mean", torch.tensor(normalize.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normalize.std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # float() comes before permute(): TensorRT refuses to transpose uint8; torch's own kernels sum a transposed view in another order
        planes = pixels.float().permute(0, 3, 1, 2).contiguous()
        divisor = round(1 / self.scale)
        planes = planes / divisor if divisor * self.scale == 1.0 else planes * self.scale
        return planes if self.plain else (planes - self.mean) / self.std


class Reversal(torch.nn.Module):
    """The other order of the three colours; `axis` is theirs."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first, second, third = images.split(1, self.axis)
        return torch.cat((third, second, first), self.axis)


def suppress(
    boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor, iou: float, confidence: float
) -> torch.Tensor:
    """Scores [N, A] with zeros in place of what a better box of the same class covers by more than `iou`."""
    kept = torch.zeros_like(scores)
    for n in range(scores.shape[0]):
        candidates = (scores[n] > confidence).nonzero().squeeze(1)
        order = candidates[scores[n][candidates].argsort(descending=True, stable=True)]
        apart = boxes[n] + classes[n].unsqueeze(1) * 7680.0
        area = (boxes[n][:, 2] - boxes[n][:, 0]) * (boxes[n][:, 3] - boxes[n][:, 1])
        while order.numel() > 0:
            best = order[0]
            kept[n, best] = scores[n, best]
            rest = order[1:]
            low = torch.maximum(apart[best, :2], apart[rest, :2])
            high = torch.minimum(apart[best, 2:], apart[rest, 2:])
            side = (high - low).clamp(min=0)
            shared = side[:, 0] * side[:, 1]
            order = rest[~(shared / (area[best] + area[rest] - shared) > iou)]
    return kept


class OnnxSuppression(torch.autograd.Function):
    """`suppress` in eager mode, ONNX's own NonMaxSuppression in an exported graph."""

    @staticmethod
    def forward(ctx: Any, boxes: Any, scores: Any, onehot: Any, classes: Any, iou: float, confidence: float) -> Any:
        # the exporter looks at shapes alone and would record every operator of the loop
        return scores * 1.0 if torch.jit.is_tracing() else suppress(boxes, scores, classes, iou, confidence)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, onehot: Any, classes: Any, iou: float, confidence: float) -> Any:
        def constant(value: Any, kind: torch.dtype) -> Any:
            return g.op("Constant", value_t=torch.tensor(value, dtype=kind))

        chosen = g.op(
            "NonMaxSuppression", boxes, onehot, constant([2**31 - 1], torch.int64),
            constant([iou], torch.float32), constant([confidence], torch.float32),
        )  # fmt: skip
        place = g.op("Gather", chosen, constant([0, 2], torch.int64), axis_i=1)
        empty = g.op("Mul", scores, constant(0.0, torch.float32))
        kept = g.op("ScatterND", empty, place, g.op("GatherND", scores, place))
        return kept.setType(scores.type())


class Suppression(torch.nn.Module):
    """yolo_v8 [N, 4 + C, A] to yolo_end2end [N, K, 6], best first, rows of zeros where fewer than K boxes are left."""

    def __init__(self, iou: float, confidence: float, limit: int, *, onnx: bool) -> None:
        super().__init__()
        self.iou, self.confidence, self.limit = iou, confidence, limit
        self.scripted = None if onnx else torch.jit.script(suppress)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        centre, size, each = raw[:, :2], raw[:, 2:4], raw[:, 4:]
        half = size / 2
        boxes = torch.cat([centre - half, centre + half], 1).transpose(1, 2)
        scores, classes = each.max(1)
        if self.scripted is None:
            onehot = each * (each >= scores.unsqueeze(1)).float()
            kept = OnnxSuppression.apply(boxes, scores, onehot, classes, self.iou, self.confidence)
        else:
            kept = self.scripted(boxes, scores, classes, self.iou, self.confidence)
        best, index = kept.topk(self.limit, dim=1)
        chosen = boxes.gather(1, index.unsqueeze(2).expand(-1, -1, 4))
        label = classes.gather(1, index).float()
        rows = torch.cat([chosen, best.unsqueeze(2), label.unsqueeze(2)], 2)
        return rows * (best > 0).float().unsqueeze(2)


class Graph(torch.nn.Module):
    """What is exported: (pixels ->) model (-> suppression)."""

    def __init__(self, pixels: torch.nn.Module, model: torch.nn.Module, suppression: torch.nn.Module) -> None:
        super().__init__()
        self.pixels, self.model, self.suppression = pixels, model, suppression

    def forward(self, images: torch.Tensor) -> Any:
        """One tensor or a tuple of them; torch.jit.script knows no narrower word for that."""
        return self.suppression(self.model(self.pixels(images)))


class Embedding:
    """The graph for one export, with the metadata that describes it and its outputs.

    `target` is the format whose converter sees the graph: ONNX too for what is made from ONNX.
    """

    def __init__(self, loaded: Loaded, options: ExportOptions, target: ExportFormat) -> None:
        self.preprocessing, self.postprocessing = loaded.preprocessing, loaded.postprocessing
        self.outputs = loaded.outputs
        self.description = ""
        pixels: torch.nn.Module = torch.nn.Identity()
        suppression: torch.nn.Module = torch.nn.Identity()
        self.embedded = options.embed_preprocessing is not False
        if self.embedded:
            pixels = Pixels(self.preprocessing.normalize)
            self.preprocessing = _takes_pixels(self.preprocessing)
        if _reversed(options):
            pixels = torch.nn.Sequential(Reversal(3 if self.embedded else 1), pixels)
            self.preprocessing = _turned(self.preprocessing)
        if options.embed_nms and self.postprocessing.decoder is Decoder.YOLO_V8:
            suppression = self._suppression(loaded, onnx=target is ExportFormat.ONNX)
        elif options.embed_nms and self.postprocessing.decoder is not Decoder.YOLO_END2END:
            raise Permanent("unsupported", "export_config.embed_nms: this model has no boxes to suppress in a graph.")
        self.graph = Graph(pixels, loaded.module, suppression).eval()

    @property
    def names(self) -> list[str]:
        """Of the outputs, in their order."""
        return [output.name for output in self.outputs]

    def _suppression(self, loaded: Loaded, *, onnx: bool) -> Suppression:
        nms = self.postprocessing.nms
        anchors = int(loaded.module(loaded.example).shape[2])
        limit = min(nms.max_detections, anchors)
        self.outputs = (Output("detections", "[batch, detection, x1 y1 x2 y2 score class]"),)
        self.description = (
            f"boxes above {EMBEDDED_CONFIDENCE}, suppressed at an IoU of {nms.iou_threshold}; rows of zeros fill up"
        )
        self.postprocessing = _suppresses(self.postprocessing, limit)
        return Suppression(nms.iou_threshold, EMBEDDED_CONFIDENCE, limit, onnx=onnx)

    def example(self, loaded: Loaded, batch: int, size: tuple[int, int] | None = None) -> torch.Tensor:
        """An input of the graph: grey pixels or zeros."""
        height, width = size or (int(loaded.example.shape[2]), int(loaded.example.shape[3]))
        if self.embedded:
            return torch.full((batch, height, width, 3), 114, dtype=torch.uint8)
        return torch.zeros(batch, 3, height, width)


def _takes_pixels(preprocessing: Preprocessing) -> Preprocessing:
    return structs.replace(
        preprocessing,
        normalize=structs.replace(preprocessing.normalize, embedded=True),
        format=structs.replace(preprocessing.format, output_layout="NHWC", dtype="uint8"),
    )


def _reversed(options: ExportOptions) -> bool:
    arguments = options.model_optimizer_args if isinstance(options, OpenVinoOptions) else None
    return arguments is not None and arguments.reverse_input_channels


def _turned(preprocessing: Preprocessing) -> Preprocessing:
    """The same for the other order of colours."""
    other = "RGB" if preprocessing.format.color_space == "BGR" else "BGR"
    return structs.replace(preprocessing, format=structs.replace(preprocessing.format, color_space=other))


def _suppresses(postprocessing: Postprocessing, limit: int) -> Postprocessing:
    nms = structs.replace(postprocessing.nms, embedded=True, max_detections=limit)
    return structs.replace(postprocessing, decoder=Decoder.YOLO_END2END, nms=nms)


def input_words(embedding: Embedding) -> tuple[str, str]:
    """Layout and description of the graph's input, for its TensorSpec."""
    colours = embedding.preprocessing.format.color_space
    return ("NHWC", f"uint8 {colours} pixels") if embedding.embedded else ("NCHW", f"normalised {colours}")


def input_spec(embedding: Embedding, name: str, example: torch.Tensor, *, dynamic: bool = False) -> TensorSpec:
    """The input of a converted graph, as the example that it was converted with; -1 for a dynamic batch."""
    layout, description = input_words(embedding)
    return _spec(name, layout, description, example, dynamic=dynamic)


def output_specs(
    embedding: Embedding, answers: Sequence[torch.Tensor], *, dynamic: bool = False
) -> tuple[TensorSpec, ...]:
    """The outputs, as these answers to the example."""
    pairs = zip(embedding.outputs, answers, strict=True)
    return tuple(
        _spec(output.name, output.format, embedding.description, made, dynamic=dynamic) for output, made in pairs
    )


def _spec(name: str, layout: str, description: str, tensor: torch.Tensor, *, dynamic: bool) -> TensorSpec:
    return TensorSpec(
        name=name,
        shape=(-1 if dynamic else tensor.shape[0], *tensor.shape[1:]),
        dtype=str(tensor.dtype).removeprefix("torch."),
        format=layout,
        description=description,
    )


def dry_run(embedding: Embedding, example: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """One pass before a converter looks: lets the model build what it caches per input size, and shows that it takes this size.

    Raises Permanent("unsupported") where it does not.
    """
    try:
        with torch.inference_mode():
            return as_tuple(embedding.graph(example))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        shape = list(example.shape)
        raise Permanent(
            "unsupported",
            f"export_config.image_size: the model refuses an input of {shape}: {error_line(error)}.",
            hint="What works: the size that the model was trained with; leave image_size out.",
        ) from error
