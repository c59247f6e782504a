"""The pictures that a sample was never trained on, with what is to be seen in them."""

from collections.abc import Sequence

from samples import scenes, shapes
from samples.recipes import RECIPES
from samples.scenes import Painter, Scene, Truth

LONG_SIDE = 160
SMALL_LONG_SIDE = 96
PAINTERS: dict[str, tuple[Painter, int]] = {
    "shapes-detector": (scenes.upright, LONG_SIDE),
    "shapes-yolo26": (scenes.upright, LONG_SIDE),
    "shapes-segmenter": (scenes.upright, LONG_SIDE),
    "shapes-pose": (scenes.upright, LONG_SIDE),
    "shapes-oriented": (scenes.rotated, LONG_SIDE),
    "shapes-rtdetr": (scenes.large, 64),
    "shapes-segformer": (scenes.large, SMALL_LONG_SIDE),
    "shapes-upernet": (scenes.large, SMALL_LONG_SIDE),
}


def held_out(name: str) -> Sequence[Scene]:
    """Of the sample of that name; KeyError where there is none. A digit is one truth that covers its picture."""
    if RECIPES[name].task_type == "image_classification":
        return _digits()
    paint, long_side = PAINTERS[name]
    return list(scenes.draw(paint, seed=shapes.VAL_SEED, count=scenes.HELD_OUT, long_side=long_side))


def _digits() -> Sequence[Scene]:
    from samples import digits

    data = digits.load()
    return [
        Scene(image, (Truth(class_id=int(label), box=(0, 0, *image.shape[1::-1]), outline=()),))
        for image, label in zip(data.test_images, data.test_labels, strict=True)
    ]
