"""Hugging Face image processors read as the `preprocessing` section; a processor with arithmetic of its own is refused by name."""

from typing import Any

from transformers.image_processing_backends import PilBackend, TorchvisionBackend

from contracts.errors import Permanent
from contracts.model_package import Normalize, Preprocessing, Resize, TensorFormat
from contracts.vocabulary import Kernel, ResizeMethod

KERNELS = {0: Kernel.PIL_NEAREST, 1: Kernel.PIL_LANCZOS, 2: Kernel.PIL_BILINEAR, 3: Kernel.PIL_BICUBIC}
"""Pillow's numbers, as preprocessor_config.json holds them."""
ARITHMETIC = ("_preprocess", "resize", "center_crop", "rescale", "normalize", "rescale_and_normalize", "pad")


ALIKE = frozenset({"BeitImageProcessorPil", "MobileNetV2ImageProcessorPil", "SegformerImageProcessorPil"})
"""Their own methods are about segmentation maps; a picture goes the common way."""
CONVNEXT = "ConvNextImageProcessorPil"
CONVNEXT_WARPS_FROM = 384


def adapt(processor: Any, size: object) -> Any:
    """The processor, set to an asked [height, width]; raises Permanent("unsupported") where that cannot be said to it."""
    _plain(processor)
    if size is None:
        return processor
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise Permanent("unsupported", f"image_size must be [height, width], not {size!r}.")
    height, width = int(size[0]), int(size[1])
    own = read(processor).resize
    if (height, width) == own.size:
        return processor
    kind = type(processor.size)
    if own.method is ResizeMethod.STRETCH:
        processor.size = kind(height=height, width=width)
        return processor
    raise Permanent(
        "unsupported",
        f"export_config.image_size: this processor crops to {list(own.size)}.",
        hint=f"What works: {list(own.size)}.",
    )


def read(processor: Any) -> Preprocessing:
    """What the processor does, from its own attributes."""
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if processor.do_normalize:
        mean, std = _triple(processor.image_mean), _triple(processor.image_std)
    scale = float(processor.rescale_factor) if processor.do_rescale else 1.0
    return Preprocessing(
        resize=_resize(processor), normalize=Normalize(scale=scale, mean=mean, std=std), format=TensorFormat()
    )


def _plain(processor: Any) -> None:
    """Only the arithmetic that all processors share is known here."""
    kind = type(processor)
    base = next((base for base in (TorchvisionBackend, PilBackend) if isinstance(processor, base)), None)
    changed = [
        name for name in ARITHMETIC if base is None or getattr(kind, name, None) is not getattr(base, name, None)
    ]
    if changed and kind.__name__ not in {*ALIKE, CONVNEXT}:
        raise Permanent("unsupported", f"{kind.__name__} prepares pictures in a way of its own ({changed[0]}).")
    if getattr(processor, "do_pad", None):
        raise Permanent("unsupported", f"{kind.__name__} pads (do_pad), which cannot be exported.")


def _resize(processor: Any) -> Resize:
    size, crop = processor.size, processor.crop_size if processor.do_center_crop else None
    cut = (int(crop.height), int(crop.width)) if crop is not None else None
    kernel = KERNELS.get(int(processor.resample)) if processor.resample is not None else Kernel.PIL_BILINEAR
    if not processor.do_resize:
        raise Permanent(
            "unsupported", "a processor that does not resize (do_resize false) takes pictures of one size only."
        )
    if kernel is None:
        raise Permanent("unsupported", f"the resampling filter {processor.resample} cannot be exported.")
    if type(processor).__name__ == CONVNEXT:
        return _convnext(processor, kernel)
    if size.height and size.width:
        to = (int(size.height), int(size.width))
        if cut is None or cut == to:
            return Resize(method=ResizeMethod.STRETCH, size=to, kernel=kernel)
        return Resize(method=ResizeMethod.STRETCH_CROP, size=cut, kernel=kernel, resize_to=to, crop_offset="truncate")
    if size.shortest_edge and not size.longest_edge and cut is not None:
        short = int(size.shortest_edge)
        return Resize(
            method=ResizeMethod.SHORT_SIDE_CROP,
            size=cut,
            kernel=kernel,
            resize_to=(short, short),
            crop_offset="truncate",
        )
    raise Permanent("unsupported", f"the size {dict(size)} without a crop cannot be exported.")


def _convnext(processor: Any, kernel: Kernel) -> Resize:
    """ConvNeXT's processor, which ResNet, RegNet and CvT use too: crops below 384 pixels, warps from there on."""
    side = int(processor.size.shortest_edge)
    if processor.do_center_crop:
        raise Permanent("unsupported", "a ConvNextImageProcessor with do_center_crop cannot be exported.")
    if side >= CONVNEXT_WARPS_FROM:
        return Resize(method=ResizeMethod.STRETCH, size=(side, side), kernel=kernel)
    short = int(side / processor.crop_pct)
    return Resize(
        method=ResizeMethod.SHORT_SIDE_CROP,
        size=(side, side),
        kernel=kernel,
        resize_to=(short, short),
        crop_offset="truncate",
    )


def _triple(values: Any) -> tuple[float, float, float]:
    numbers = [float(value) for value in values] if isinstance(values, (list, tuple)) else [float(values)] * 3
    return numbers[0], numbers[1], numbers[2]
