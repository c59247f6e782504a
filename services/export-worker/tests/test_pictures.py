"""The parity pictures: enough, of every shape, always the same."""

import numpy as np

from export_worker.parity.pictures import golden_indices, pictures


def test_half_of_32_pictures_are_not_square():
    made = pictures()

    assert len(made) == 32
    assert sum(picture.shape[0] != picture.shape[1] for picture in made) == 16
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in made)


def test_they_are_the_same_every_time():
    assert all(np.array_equal(a, b) for a, b in zip(pictures(), pictures(), strict=True))


def test_they_hold_grey_tiny_long_and_colourful_ones():
    made = pictures()

    assert any(np.array_equal(p[..., 0], p[..., 1]) and np.array_equal(p[..., 1], p[..., 2]) for p in made)
    assert any(p.shape[:2] == (1, 1) for p in made)
    assert any(max(p.shape[:2]) >= 8 * min(p.shape[:2]) for p in made)
    assert len({p.tobytes() for p in made}) == 32


def test_golden_pictures_are_small_and_mostly_not_square():
    made = [pictures()[index] for index in golden_indices()]

    assert len(made) == 4
    assert sum(p.shape[0] != p.shape[1] for p in made) == 3
    assert all(p.size < 120_000 for p in made)
