"""Hugging Face image processors read as the `preprocessing` section; a processor with arithmetic of its own is refused by name."""

from typing import Any

from transformers.image_processing_backends import PilBackend

from contracts.errors import Permanent
from contracts.model_package import Normalize, Preprocessing, Resize, TensorFormat
from contracts.vocabulary import Kernel, ResizeMethod

KERNELS = {0: Kernel.PIL_NEAREST, 1: Kernel.PIL_LANCZOS, 2: Kernel.PIL_BILINEAR, 3: Kernel.PIL_BICUBIC}
"""Pillow's numbers, as preprocessor_config.json holds them."""
ARITHMETIC = ("_preprocess", "resize", "center_crop", "rescale", "normalize", "rescale_and_normalize", "pad")


ALIKE = frozenset(f"{name}ImageProcessorPil" for name in ("Beit", "DPT", "MobileNetV2", "MobileViT", "Segformer"))
"""Their own methods are about segmentation maps, the order of colours and sizes; a picture goes the common way."""
SETS = frozenset(
    f"{name}ImageProcessorPil" for name in ("ConditionalDetr", "DeformableDetr", "Detr", "RTDetr", "Yolos")
)
"""Their own methods are about boxes and about padding to the largest picture of a batch."""
CONVNEXT = "ConvNextImageProcessorPil"
CONVNEXT_WARPS_FROM = 384
MAX_SIDE = 4096
FIXED = (
    "An exported model has one input size, so pictures are stretched to {height}x{width} for source and artefact alike; the processor as "
    "it was saved ({saved}) keeps their aspect ratio."
)


def adapt(processor: Any, size: object) -> tuple[Any, str]:
    """The processor, set to one input size: an asked [height, width], or its own; and what a reader should know about that.

    Raises Permanent("unsupported") where that cannot be said to it.
    """
    _plain(processor)
    note = _fix(processor, _asked(size))
    own = read(processor).resize
    if max(own.size) > MAX_SIDE or min(own.size) < 1:
        raise Permanent("unsupported", f"the input size {list(own.size)} is not between 1 and {MAX_SIDE} pixels.")
    if size is None or own.size == _asked(size):
        return processor, note
    raise Permanent(
        "unsupported",
        f"export_config.image_size: this processor makes pictures of {list(own.size)} of it.",
        hint=f"What works: {list(own.size)}.",
    )


def _asked(size: object) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = [size, size] if isinstance(size, int) else size
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(side, int) for side in pair):
        raise Permanent("unsupported", f"image_size must be [height, width], not {size!r}.")
    return pair[0], pair[1]


def _fix(processor: Any, asked: tuple[int, int] | None) -> str:
    """Make one input size of the rule by which a processor finds a size for each picture; says so where that changes something."""
    size = processor.size
    keeps = bool(getattr(processor, "keep_aspect_ratio", False))
    saved = dict(size)
    if type(processor).__name__ in SETS:
        padded = processor.pad_size if processor.do_pad else None
        keeps = not (size.height and size.width) or padded is not None
        asked = asked or _one_size(size, padded)
        processor.do_pad = False
    elif not keeps and (asked is None or processor.do_center_crop or not (size.height and size.width)):
        return ""
    if keeps and hasattr(processor, "keep_aspect_ratio"):
        processor.keep_aspect_ratio = False
    height, width = asked or (size.height, size.width)
    processor.size = type(size)(height=height, width=width)
    words = ", ".join(f"{name} {value}" for name, value in saved.items())
    return FIXED.format(height=height, width=width, saved=words) if keeps else ""


def _one_size(size: Any, padded: Any) -> tuple[int, int]:
    """Where all pictures are padded to, else both sides as given, else a square of the short side."""
    if padded is not None and padded.height and padded.width:
        return int(padded.height), int(padded.width)
    if size.height and size.width:
        return int(size.height), int(size.width)
    if size.max_height and size.max_width:
        return int(size.max_height), int(size.max_width)
    if not size.shortest_edge:
        raise Permanent("unsupported", f"the size {dict(size)} cannot be exported.")
    return int(size.shortest_edge), int(size.shortest_edge)


def read(processor: Any) -> Preprocessing:
    """What the processor does, from its own attributes."""
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    flips = getattr(processor, "do_flip_channel_order", None)
    if processor.do_normalize and flips is None:  # the one that flips colours never normalises, whatever it was told
        mean, std = _triple(processor.image_mean), _triple(processor.image_std)
    scale = float(processor.rescale_factor) if processor.do_rescale else 1.0
    return Preprocessing(
        resize=_resize(processor),
        normalize=Normalize(scale=scale, mean=mean, std=std),
        format=TensorFormat(color_space="BGR" if flips else "RGB"),
    )


def _plain(processor: Any) -> None:
    """Only the arithmetic that all processors share is known here."""
    kind = type(processor)
    if not isinstance(processor, PilBackend):
        raise Permanent(
            "unsupported", f"{kind.__name__} prepares pictures without Pillow, which cannot be reproduced exactly."
        )
    changed = [name for name in ARITHMETIC if getattr(kind, name, None) is not getattr(PilBackend, name, None)]
    if changed and kind.__name__ not in {*ALIKE, *SETS, CONVNEXT}:
        raise Permanent("unsupported", f"{kind.__name__} prepares pictures in a way of its own ({changed[0]}).")
    if processor.do_pad and kind.__name__ not in SETS:
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
        step = int(getattr(processor, "ensure_multiple_of", None) or 1)
        to = (round(size.height / step) * step, round(size.width / step) * step)
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
