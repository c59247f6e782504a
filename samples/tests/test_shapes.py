import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samples import shapes


def test_the_same_seed_draws_the_same_picture() -> None:
    first, first_shapes = shapes.draw(np.random.default_rng(7), 160, 100)
    second, second_shapes = shapes.draw(np.random.default_rng(7), 160, 100)
    assert first.tobytes() == second.tobytes()
    assert first_shapes == second_shapes


@pytest.mark.parametrize("size", [(160, 100), (100, 160), (1280, 720)])
def test_boxes_lie_inside_and_do_not_overlap(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        picture, found = shapes.draw(rng, *size)
        assert picture.size == size
        assert 1 <= len(found) <= 3
        for index, shape in enumerate(found):
            x0, y0, x1, y1 = shape.box
            assert 0 <= x0 < x1 <= size[0]
            assert 0 <= y0 < y1 <= size[1]
            assert not any(shapes._overlap(shape.box, other.box) for other in found[:index])


def test_a_shape_is_really_painted_inside_its_box() -> None:
    rng = np.random.default_rng(11)
    picture, found = shapes.draw(rng, 320, 200)
    x0, y0, x1, y1 = (round(value) for value in found[0].box)
    centre = picture.getpixel(((x0 + x1) // 2, (y0 + y1) // 2))
    below = picture.getpixel(((x0 + x1) // 2, y1 - 3))
    assert centre == below, "one flat colour, which the noise around it is not"


def test_training_and_validation_pictures_differ(tmp_path: Path) -> None:
    description = shapes.write_dataset(tmp_path, train=6, val=6, long_side=96)
    digests = {
        split: {hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "images" / split).iterdir()}
        for split in ("train", "val")
    }
    assert len(digests["train"]) == len(digests["val"]) == 6
    assert not digests["train"] & digests["val"]
    assert "2: triangle" in description.read_text()


def test_labels_are_relative_to_the_picture(tmp_path: Path) -> None:
    shapes.write_dataset(tmp_path, train=8, val=1, long_side=96)
    for path in (tmp_path / "labels" / "train").iterdir():
        for line in path.read_text().splitlines():
            class_id, x, y, width, height = (float(word) for word in line.split())
            assert class_id in (0, 1, 2)
            assert x - width / 2 + 1e-6 >= 0
            assert x + width / 2 <= 1 + 1e-6
            assert y - height / 2 + 1e-6 >= 0
            assert y + height / 2 <= 1 + 1e-6


def test_demo_pictures_are_mostly_not_square(tmp_path: Path) -> None:
    sizes = [Image.open(path).size for path in shapes.write_pictures(tmp_path)]
    assert sum(width != height for width, height in sizes) >= 3
