"""Pictures to tensors in Kotlin, equal to the bit to libs/processing."""

import zlib

import numpy as np
import pytest

from processing import goldens, kernels
from processing.geometry import METHODS
from processing.pipeline import Pipeline

from .metadata import SIZES, metadata

TARGETS = [(1, 1), (16, 24), (24, 48), (48, 64), (49, 65), (120, 160), (1, 90), (77, 3)]


def drawn(pattern, height, width, seed):
    return {"pattern": pattern, "height": height, "width": width, "seed": seed}


@pytest.mark.parametrize("kernel", kernels.REFERENCE)
def test_every_kernel_resamples_to_the_bit(probe, kernel):
    different = []
    for seed, source in enumerate(SIZES):
        for target in TARGETS:
            for pattern in ("noise", "ramp"):
                picture = goldens.draw(pattern, *source, seed)
                expected = np.ascontiguousarray(kernels.resize(picture, target, kernel, reference=True))
                got = probe.ask("resize", kernel=kernel, to=target, **drawn(pattern, *source, seed))
                if got != {"shape": [*target, 3], "crc32": zlib.crc32(expected.tobytes())}:
                    different.append((pattern, source, target))
    assert not different


RULES = {
    "as it is": {},
    "BGR": {"preprocessing__format": {"color_space": "BGR"}},
    "NHWC": {"preprocessing__format": {"output_layout": "NHWC"}},
    "BGR and NHWC": {"preprocessing__format": {"output_layout": "NHWC", "color_space": "BGR"}},
    "embedded": {
        "preprocessing__normalize": {"embedded": True},
        "preprocessing__format": {"output_layout": "NHWC", "dtype": "uint8"},
    },
    "embedded, planar, BGR": {
        "preprocessing__normalize": {"embedded": True},
        "preprocessing__format": {"color_space": "BGR", "dtype": "uint8"},
    },
}
PLACES = {
    "plain": {},
    "not larger": {"scale_up": False},
    "in the corner": {"center": False, "fill_value": 7},
    "cut out of larger": {"resize_to": [70, 90]},
    "cut out of smaller": {"resize_to": [31, 40]},
    "odd cut, truncated": {"resize_to": [57, 75], "crop_offset": "truncate"},
    "odd cut, rounded": {"resize_to": [57, 75]},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kernel", kernels.REFERENCE)
def test_every_method_gives_the_same_tensor(probe, written, method, kernel):
    different = []
    for place, resize in PLACES.items():
        rule = list(RULES)[(len(method) + len(kernel) + len(place)) % len(RULES)]
        described = metadata(**RULES[rule])
        described["preprocessing"]["resize"] |= {"method": method, "kernel": kernel, **resize}
        pipeline, path = Pipeline.from_metadata(described), written(described)
        for seed, source in enumerate(SIZES):
            got = probe.ask("preprocess", metadata=path, **drawn("noise", *source, seed))
            expected = goldens.fingerprint(pipeline.preprocess(goldens.draw("noise", *source, seed))[0])
            if got != {name: expected[name] for name in got}:
                different.append((place, rule, source))
    assert not different


@pytest.mark.parametrize("rule", RULES)
def test_every_format_gives_the_same_tensor(probe, written, rule):
    described = metadata(**RULES[rule])
    pipeline, path = Pipeline.from_metadata(described), written(described)
    for seed, source in enumerate(SIZES):
        got = probe.ask("preprocess", metadata=path, **drawn("ramp", *source, seed))
        expected = goldens.fingerprint(pipeline.preprocess(goldens.draw("ramp", *source, seed))[0])
        assert got == {name: expected[name] for name in got}, source


def test_a_strip_that_would_become_giant_is_refused(probe, written):
    from .probe import Refused

    described = metadata()
    described["preprocessing"]["resize"] = {"method": "short_side_crop", "size": [4096, 4096], "kernel": "pil_nearest"}
    with pytest.raises(Refused, match="too long and thin") as error:
        probe.ask("preprocess", metadata=written(described), **drawn("noise", 1, 9000, 0))
    assert error.value.code == "image_too_large"
