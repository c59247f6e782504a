import math
from pathlib import Path

import numpy as np
import pytest

from samples import scenes, shapes, yolo_data
from samples.scenes import Painter

PAINTERS = (scenes.upright, scenes.rotated, scenes.large)


@pytest.mark.parametrize("paint", PAINTERS)
def test_the_same_seed_draws_the_same_scenes(paint: Painter) -> None:
    first, second = (list(scenes.draw(paint, seed=5, count=3, long_side=96)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.picture, other.picture)
        assert one.truths == other.truths


def test_the_held_out_pictures_are_those_of_the_detector(tmp_path: Path) -> None:
    shapes.write_dataset(tmp_path, train=1, val=2, long_side=96)
    first, second = scenes.draw(scenes.upright, seed=shapes.VAL_SEED, count=2, long_side=96)
    for scene, name in ((first, "0000"), (second, "0001")):
        labels = (tmp_path / "labels" / "val" / f"{name}.txt").read_text().splitlines()
        assert [int(line.split()[0]) for line in labels] == [truth.class_id for truth in scene.truths]
        boxes = [yolo_data.LABELS["detect"](truth, *scene.size) for truth in scene.truths]
        assert np.allclose([[float(word) for word in line.split()[1:]] for line in labels], boxes, atol=1e-6)


@pytest.mark.parametrize("paint", PAINTERS)
def test_an_outline_lies_on_what_is_painted(paint: Painter) -> None:
    for scene in scenes.draw(paint, seed=5, count=8, long_side=160):
        for truth in scene.truths:
            covered = scenes.mask(truth.outline, *scene.size)
            ys, xs = np.nonzero(covered)
            x0, y0, x1, y1 = truth.box
            assert np.allclose((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), (x0, y0, x1, y1), atol=1.6)
            inside = scene.picture[covered].astype(int)
            colour = np.median(inside, axis=0)
            assert (np.abs(inside - colour).max(axis=1) <= 2).mean() > 0.6, "one colour, which noise is not"


def test_a_rotated_box_encloses_its_outline_closely() -> None:
    for scene in scenes.draw(scenes.rotated, seed=5, count=8, long_side=160):
        for truth in scene.truths:
            assert truth.rotated is not None
            x, y, width, height, angle = truth.rotated
            turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            local = (np.array(truth.outline) - (x, y)) @ turn
            assert np.allclose(local.min(axis=0), (-width / 2, -height / 2))
            assert np.allclose(local.max(axis=0), (width / 2, height / 2))
            corners = np.array(scenes.corners(truth.rotated))
            assert np.allclose(np.sort(corners @ turn - np.array((x, y)) @ turn, axis=0)[0], (-width / 2, -height / 2))


def test_key_points_are_the_top_and_the_feet() -> None:
    (scene,) = scenes.draw(scenes.upright, seed=5, count=1, long_side=160)
    for truth in scene.truths:
        x0, y0, x1, y1 = truth.box
        assert truth.keypoints == (((x0 + x1) / 2, y0), (x1, y1), (x0, y1))
    assert len(scene.truths[0].keypoints) == len(scenes.KEYPOINTS)


def test_a_label_map_counts_from_the_ground() -> None:
    (scene,) = scenes.draw(scenes.upright, seed=5, count=1, long_side=160)
    labels = scene.label_map()
    assert labels.shape == scene.picture.shape[:2]
    assert set(np.unique(labels)) == {0, *(truth.class_id + 1 for truth in scene.truths)}


@pytest.mark.parametrize(("task", "numbers"), [("detect", 4), ("pose", 4 + 9), ("obb", 8)])
def test_labels_have_the_numbers_of_their_task(tmp_path: Path, task: str, numbers: int) -> None:
    paint = scenes.rotated if task == "obb" else scenes.upright
    description = yolo_data.write(tmp_path / "data", task, paint, train=3, val=2, long_side=96)
    lines = [line for path in tmp_path.rglob("*.txt") for line in path.read_text().splitlines()]
    assert lines
    assert all(len(line.split()) == 1 + numbers for line in lines)
    assert ("kpt_shape: [3, 3]" in description.read_text()) is (task == "pose")
    assert ("frame" in description.read_text()) is (task == "obb")
