"""Kernels at sizes that pictures of cameras have, rows with gaps between them, and every scale, equal to the reference to the bit."""

import zlib

import numpy as np
import pytest

from processing import goldens, kernels
from processing.pipeline import Pipeline

from ..kotlin.metadata import metadata

SIZES = (
    # source to target, (height, width)
    ((1080, 1920), (180, 320)), ((1080, 1920), (540, 960)), ((480, 640), (160, 213)), ((3000, 40), (30, 41)), ((2, 4000), (64, 3)),
)  # fmt: skip


@pytest.mark.parametrize("kernel", kernels.REFERENCE)
def test_large_pictures_are_resampled_to_the_bit(probe, kernel):
    for seed, (source, target) in enumerate(SIZES):
        drawn = {"pattern": "noise", "height": source[0], "width": source[1], "seed": seed}
        expected = kernels.resize(goldens.draw(**drawn), target, kernel)
        got = probe.ask("resize", kernel=kernel, to=target, **drawn)
        assert got == {"shape": [*target, 3], "crc32": zlib.crc32(expected.tobytes())}, (source, target)


def test_every_scale_normalises_to_the_same_floats(probe, written):
    generator = np.random.default_rng(5)
    for scale in (1 / 255, 1.0, 0.5, 1 / 127.5, *generator.random(16)):
        mean, std = generator.normal(size=3).tolist(), generator.uniform(0.01, 3, 3).tolist()
        described = metadata(preprocessing__normalize={"scale": scale, "mean": mean, "std": std})
        drawn = {"pattern": "noise", "height": 40, "width": 40, "seed": 9}
        expected = goldens.fingerprint(Pipeline.from_metadata(described).preprocess(goldens.draw(**drawn))[0])
        assert probe.ask("preprocess", metadata=written(described), **drawn)["crc32"] == expected["crc32"]
