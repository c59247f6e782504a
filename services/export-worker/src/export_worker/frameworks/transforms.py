"""torchvision transform pipelines read as the `preprocessing` section: what they are made of is looked at, not assumed."""

from typing import Any

import numpy as np
from torchvision import transforms as tv
from torchvision.transforms import InterpolationMode

from contracts.errors import Permanent
from contracts.model_package import Normalize, Preprocessing, Resize, TensorFormat
from contracts.vocabulary import Framework, Kernel, ResizeMethod

KERNELS = {
    InterpolationMode.NEAREST: Kernel.PIL_NEAREST,
    InterpolationMode.BILINEAR: Kernel.PIL_BILINEAR,
    InterpolationMode.BICUBIC: Kernel.PIL_BICUBIC,
    InterpolationMode.LANCZOS: Kernel.PIL_LANCZOS,
}


def read_transforms(pipeline: Any, framework: Framework) -> Preprocessing:
    """Resize, CenterCrop, ToTensor, Normalize, in this order; raises Permanent("unsupported") naming any other step."""
    resize: Any = None
    crop: Any = None
    normalize = Normalize()
    for step in pipeline.transforms:
        name = type(step).__name__
        if isinstance(step, tv.Resize) and resize is None and crop is None:
            resize = step
        elif isinstance(step, tv.CenterCrop) and crop is None:
            crop = step
        elif isinstance(step, tv.Normalize):
            normalize = Normalize(mean=_triple(step.mean), std=_triple(step.std))
        elif name not in {"ToTensor", "MaybeToTensor"}:
            raise _unsupported(framework, f"the transform {name}")
    if resize is None:
        raise _unsupported(framework, "a pipeline without Resize")
    return Preprocessing(resize=_resize(resize, crop, framework), normalize=normalize, format=TensorFormat())


def _resize(resize: Any, crop: Any, framework: Framework) -> Resize:
    kernel = KERNELS.get(resize.interpolation)
    if kernel is None:
        raise _unsupported(framework, f"the interpolation {resize.interpolation.value!r}")
    size = _pair(crop.size) if crop is not None else None
    if isinstance(resize.size, int) or len(resize.size) == 1:
        short = int(resize.size if isinstance(resize.size, int) else resize.size[0])
        if size is None:
            raise _unsupported(framework, "a resize of the short side without a crop")
        return Resize(method=ResizeMethod.SHORT_SIDE_CROP, size=size, kernel=kernel, resize_to=(short, short))
    to = _pair(resize.size)
    if size is None or size == to:
        return Resize(method=ResizeMethod.STRETCH, size=to, kernel=kernel)
    return Resize(method=ResizeMethod.STRETCH_CROP, size=size, kernel=kernel, resize_to=to)


def _pair(size: Any) -> tuple[int, int]:
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[-1]))


def _triple(values: Any) -> tuple[float, float, float]:
    numbers = [float(str(np.float32(float(value)))) for value in values]
    if len(numbers) == 1:
        numbers *= 3
    return numbers[0], numbers[1], numbers[2]


def _unsupported(framework: Framework, what: str) -> Permanent:
    return Permanent(
        "unsupported", f"this {framework} model is prepared with {what}, which no runtime here reproduces."
    )
