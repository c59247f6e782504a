"""Raw outputs to predictions in Kotlin, equal to libs/processing: every decoder, on what models give and on what they should not."""

import itertools

import numpy as np
import pytest

from processing.decoders import DECODERS
from processing.errors import ProcessingError
from processing.geometry import locate
from processing.masks import Mask
from processing.pipeline import Pipeline

from .metadata import metadata
from .probe import Refused

CLASSES, POINTS, MASKS = 5, 4, 6
SOURCES = [(480, 640), (97, 131), (1, 64), (64, 1), (333, 251)]


def boxes(random, count):
    """cx cy w h in input pixels, many of them near each other."""
    places = random.uniform(0, 60, (8, 2))[random.integers(0, 8, count)] + random.normal(0, 2, (count, 2))
    return np.concatenate([places, random.uniform(2, 40, (count, 2))], axis=1)


def scores(random, count, classes=CLASSES):
    """Many ties, and most of them low."""
    return np.round(random.uniform(0, 1, (count, classes)) ** 3, 1)


def extras(random, count, decoder):
    if decoder.endswith("segment"):
        return random.normal(0, 1, (count, MASKS))
    if decoder.endswith("pose"):
        return random.uniform(-5, 70, (count, POINTS * 3))
    return random.uniform(-2, 2, (count, int(decoder.endswith("obb"))))


def anchors(random, count, decoder):
    return np.concatenate([boxes(random, count), scores(random, count), extras(random, count, decoder)], axis=1).T


def rows(random, count, decoder):
    where = boxes(random, count)
    if not decoder.endswith("obb"):
        where = np.concatenate([where[:, :2] - where[:, 2:] / 2, where[:, :2] + where[:, 2:] / 2], axis=1)
    best = np.stack([scores(random, count, 1)[:, 0], random.integers(0, CLASSES, count)], axis=1)
    return np.concatenate([where, best, extras(random, count, decoder)], axis=1)


def outputs_of(decoder, random, count):
    """One picture's outputs with so many candidates."""
    if DECODERS[decoder].kind == "classes":
        return [random.normal(0, 2, (1, max(count, 1)))]
    if DECODERS[decoder].kind == "regions":
        return [random.normal(0, 2, (1, CLASSES, count % 13 + 1, count % 7 + 1))]
    if decoder.startswith("detr"):
        where = boxes(random, count) / 64
        return [np.round(random.normal(-1, 1.5, (1, count, CLASSES + 1)), 1), where[None]]
    made = (anchors if decoder.startswith("yolo_v8") else rows)(random, count, decoder)
    prototypes = [random.normal(0, 1, (1, MASKS, 12, 16))] if decoder.endswith("segment") else []
    return [made[None], *prototypes]


def described(decoder, **changes):
    shape = [POINTS, 3] if decoder.endswith("pose") else None
    more = {"postprocessing__keypoint_shape": shape} | changes
    return metadata(decoder, CLASSES, DECODERS[decoder].outputs, **more)


class Both:
    """The same question to both languages."""

    def __init__(self, probe, folder, written, document):
        self.probe, self.folder, self.path = probe, folder, written(document)
        self.pipeline = Pipeline.from_metadata(document)

    def ask(self, arrays, source, **options):
        named = dict(zip(self.pipeline.output_names, (a.astype("<f4") for a in arrays), strict=True))
        files = {}
        for name, array in named.items():
            file = self.folder / f"{name}.bin"
            file.write_bytes(array.tobytes())
            files[name] = {"shape": array.shape, "file": file}
        geometry = locate(source, self.pipeline.resize)[1]
        names = {"confidence": "confidence_threshold", "iou": "iou_threshold"}
        asked = {names.get(name, name): value for name, value in options.items()}
        question = {"metadata": self.path, "source": source, "options": asked, "outputs": files}
        try:
            expected = [p.as_dict() for p in self.pipeline.postprocess(named, geometry, **options)]
        except ProcessingError as refusal:
            return self.refused_alike(question, refusal)
        same(self.probe.ask("postprocess", **question), expected)
        return expected

    def refused_alike(self, question, refusal):
        with pytest.raises(Refused) as refused:
            self.probe.ask("postprocess", **question)
        assert (refused.value.code, refused.value.field) == (refusal.code, getattr(refusal, "field", None))
        return refusal


def same(got, expected):
    assert [p["class_id"] for p in got] == [p["class_id"] for p in expected]
    for one, other in zip(got, expected, strict=True):
        assert one.keys() == other.keys()
        assert one["class_name"] == other["class_name"]
        for name in ("confidence", "bbox", "rotated_box", "keypoints"):
            if other.get(name) is not None:
                close(one[name], other[name])
        if "mask" in other:
            apart = pixels(one["mask"]) ^ pixels(other["mask"])
            assert apart.sum() <= max(2, apart.size // 10_000), "float32 sums of another order move single pixels"


def close(got, expected):
    """Equal but for the last digits of exp, sin and cos; JSON has null for what is no number."""
    one, other = (np.array(value, float).ravel() for value in (got, expected))
    np.testing.assert_allclose(one, np.where(np.isfinite(other), other, np.nan), rtol=2e-6, atol=1e-4)


def pixels(mask):
    return Mask(tuple(mask["size"]), tuple(mask["counts"])).array()


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_gives_the_same_predictions(probe, written, tmp_path, decoder):
    both, random = Both(probe, tmp_path, written, described(decoder)), np.random.default_rng(7)
    found = 0
    for count, source in itertools.product((0, 1, 9, 300), SOURCES):
        arrays = outputs_of(decoder, random, count)
        found += len(both.ask(arrays, source))
        found += len(both.ask(arrays, source, confidence=0.05))
        if both.pipeline.post.detects:
            found += len(both.ask(arrays, source, confidence=0.1, iou=0.2, max_detections=7))
    assert found > 50


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(probe, written, tmp_path, decoder, poison):
    both, random = Both(probe, tmp_path, written, described(decoder)), np.random.default_rng(8)
    arrays = outputs_of(decoder, random, 40)
    for array in arrays:
        array.ravel()[random.integers(0, array.size, 12)] = poison
    if "end2end" in decoder:
        arrays[0][0, :, 5] = 1  # a class that is no number has no meaning in any language
    both.ask(arrays, (97, 131))


@pytest.mark.parametrize("decoder", [name for name in DECODERS if DECODERS[name].kind == "objects"])
def test_suppression_as_the_metadata_says(probe, written, tmp_path, decoder):
    for changes in ({"class_agnostic": True}, {"enabled": False}, {"embedded": True}):
        document = described(decoder)
        document["postprocessing"]["nms"] |= changes
        both = Both(probe, tmp_path, written, document)
        arrays = outputs_of(decoder, np.random.default_rng(9), 120)
        assert both.ask(arrays, (480, 640), confidence=0.1)
        both.ask(arrays, (480, 640), confidence=0.1, iou=0.3)


@pytest.mark.parametrize("decoder", DECODERS)
def test_outputs_of_another_model_are_refused(probe, written, tmp_path, decoder):
    both, random = Both(probe, tmp_path, written, described(decoder)), np.random.default_rng(10)
    arrays = outputs_of(decoder, random, 9)
    for wrong in (arrays[0][0], np.concatenate([arrays[0]] * 2), np.concatenate([arrays[0]] * 2, axis=1)):
        answer = both.ask([wrong, *arrays[1:]], (97, 131))
        assert (
            isinstance(answer, ProcessingError) or decoder in ("softmax", "probabilities", "yolo_v8") or wrong.ndim > 2
        )


@pytest.mark.parametrize("decoder", ["softmax", "yolo_v8", "semantic_logits"])
@pytest.mark.parametrize(
    "options",
    [{"confidence": 1.5}, {"confidence": float("-1")}, {"iou": 0.5}, {"iou": -0.1}, {"max_detections": 0}, {"top_k": 0},
     {"top_k": 2}, {"max_detections": 2}, {"top_k": 2, "iou": 0.5}],
)  # fmt: skip
def test_options_are_honoured_or_refused_alike(probe, written, tmp_path, decoder, options):
    both = Both(probe, tmp_path, written, described(decoder))
    both.ask(outputs_of(decoder, np.random.default_rng(11), 30), (97, 131), **options)
