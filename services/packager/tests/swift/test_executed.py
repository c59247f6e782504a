"""The Swift core, read into Python by its own grammar and run: equal to libs/processing, and a fault that is put in shows.

This is no compiler. It shows that what is written does what the reference does, and that numbers of different types do not meet where
these tests go; it is not what makes a wrapper `built` or `verified`.
"""

import json
from contextlib import suppress
from functools import cache

import numpy as np
import pytest

from processing import goldens, kernels
from processing.decoders import DECODERS
from processing.errors import ProcessingError
from processing.geometry import METHODS, locate
from processing.pipeline import Pipeline

from ..kotlin.metadata import metadata
from ..kotlin.test_postprocessing import described, outputs_of
from .asking import Core, apart
from .program import core
from .runtime import SwiftTrap, Thrown

PAIRS = [((1, 1), (5, 4)), ((9, 7), (9, 3)), ((8, 12), (4, 6)), ((5, 6), (11, 8)), ((21, 3), (4, 5))]
SOURCES = [(13, 9), (1, 14), (11, 1)]
FORMATS = [
    {"preprocessing__format": {"color_space": "BGR"}},
    {"preprocessing__format": {"output_layout": "NHWC"}},
    {
        "preprocessing__normalize": {"embedded": True},
        "preprocessing__format": {"color_space": "BGR", "output_layout": "NHWC", "dtype": "uint8"},
    },
]


@cache
def swift() -> Core:
    return Core(core())


def resamples(asked, kernel):
    for seed, (source, target) in enumerate(PAIRS):
        picture = goldens.draw("noise", *source, seed)
        expected = kernels.resize(picture, target, kernel, reference=True)
        if not np.array_equal(asked.resize(picture, target, kernel), expected):
            return f"{source} to {target}"
    return ""


@pytest.mark.parametrize("kernel", kernels.REFERENCE)
def test_kernels_resample_to_the_bit(kernel):
    assert resamples(swift(), kernel) == ""


def places(asked, method):
    for number, resize in enumerate(
        ({}, {"resize_to": [9, 11], "crop_offset": "truncate"}, {"center": False, "scale_up": False})
    ):
        document = metadata(**FORMATS[number])
        document["preprocessing"]["resize"] |= {"method": method, "size": [8, 10], "kernel": "pil_nearest", **resize}
        pipeline, mine = Pipeline.from_metadata(document), asked.pipeline(document)
        for seed, source in enumerate(SOURCES):
            picture = goldens.draw("noise", *source, seed)
            expected, _ = pipeline.preprocess(picture)
            got = asked.preprocess(mine, picture)
            if got.dtype != expected.dtype or not np.array_equal(got, expected):
                return f"{resize} of {source}"
    return ""


@pytest.mark.parametrize("method", METHODS)
def test_methods_give_the_same_tensor(method):
    assert places(swift(), method) == ""


def decodes(asked, decoder, options=({},), sources=SOURCES, **changes):
    """What differs first, "" where nothing does, and None where nothing was found that could."""
    document, random, found = described(decoder, **changes), np.random.default_rng(7), 0
    pipeline, mine = Pipeline.from_metadata(document), asked.pipeline(document)
    for count in (0, 24):
        outputs = dict(zip(pipeline.output_names, outputs_of(decoder, random, count), strict=True))
        outputs = {name: value.astype(np.float32) for name, value in outputs.items()}
        for source in sources:
            for one in options:
                expected = pipeline.postprocess(outputs, locate(source, pipeline.resize)[1], **one)
                found += len(expected)
                if difference := apart(asked.postprocess(mine, outputs, source, one), expected):
                    return f"{count} of {source} with {one}: {difference}"
    return "" if found else None


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders_give_the_same_predictions(decoder):
    options = [{}, {"confidence": 0.1}]
    if DECODERS[decoder].kind == "objects":
        options.append({"confidence": 0.1, "iou": 0.2, "max_detections": 5})
    assert decodes(swift(), decoder, options) == ""


@pytest.mark.parametrize("decoder", ["softmax", "yolo_v8_segment", "yolo_v8_pose", "yolo_v8_obb"])
def test_predictions_have_the_same_names_in_json(decoder):
    document = described(decoder)
    pipeline, mine = Pipeline.from_metadata(document), swift().pipeline(document)
    outputs = dict(zip(pipeline.output_names, outputs_of(decoder, np.random.default_rng(7), 9), strict=True))
    outputs = {name: value.astype(np.float32) for name, value in outputs.items()}
    expected = pipeline.postprocess(outputs, locate((13, 9), pipeline.resize)[1])
    found = swift().postprocess(mine, outputs, (13, 9), {})
    assert expected
    for one, other in zip(found, expected, strict=True):
        got = json.loads(one.f_json.f_text)
        assert list(got) == list(other.as_dict())
        assert (got["class_id"], got["class_name"]) == (other.class_id, other.class_name)
        assert got["confidence"] == one.f_confidence
        assert (got["bbox"] is None) is (other.bbox is None)
        if other.mask is not None:
            assert got["mask"] == {"size": list(other.mask.size), "counts": list(one.f_mask.f_counts)}
        if other.keypoints is not None:
            assert [len(point) for point in got["keypoints"]] == [3] * len(other.keypoints)


@pytest.mark.parametrize(
    "text", ['{"a": [1, -2.5, 1e30, true, false, null], "b": {}}', '"\\"\\\\\\n\\u0001 é 日本語 🚀"', "[]"]
)
def test_json_is_written_as_it_is_read(text):
    assert json.loads(swift().text(text)) == json.loads(text)


@pytest.mark.parametrize("decoder", ["softmax", "yolo_v8", "semantic_logits"])
@pytest.mark.parametrize(
    "options", [{"confidence": 1.5}, {"iou": 0.5}, {"max_detections": 0}, {"top_k": 2}, {"max_detections": 2}]
)
def test_options_are_honoured_or_refused_alike(decoder, options):
    document = described(decoder)
    pipeline, mine = Pipeline.from_metadata(document), swift().pipeline(document)
    outputs = dict(zip(pipeline.output_names, outputs_of(decoder, np.random.default_rng(7), 9), strict=True))

    def ask():
        return swift().postprocess(mine, outputs, (5, 5), options)

    try:
        expected = pipeline.postprocess(outputs, locate((5, 5), pipeline.resize)[1], **options)
    except ProcessingError as refusal:
        with pytest.raises(Thrown) as error:
            ask()
        told = refusal.code, refusal.field
        refused = error.value.value
    else:
        refused, told = None, ("", None)
        assert apart(ask(), expected) == ""
    assert refused is None or (refused.f_code, refused.f_field) == told


@pytest.mark.parametrize(
    ("path", "value"),
    [("schema_version", 2), ("preprocessing__resize__kernel", "cubic"), ("preprocessing__resize__size", [0, 5]),
     ("preprocessing__normalize__std", [1, 0, 1]), ("postprocessing__decoder", "yolo_v99"), ("classes", {}), ("output_spec", {}),
     ("postprocessing__nms__max_detections", 2.5), ("preprocessing__resize__method", None), ("model_file", 7)],
)  # fmt: skip
def test_metadata_is_refused_by_the_same_field(path, value):
    document = described("yolo_v8", **{path: value})
    with pytest.raises(ProcessingError) as refused:
        Pipeline.from_metadata(document)
    with pytest.raises(Thrown) as error:
        swift().pipeline(document)
    assert (error.value.value.f_code, error.value.value.f_field) == (refused.value.code, refused.value.field)


def made(**changes):
    return metadata(**{"provenance": {"export_options": {"compute_units": "cpu_only"}}, **changes})


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [("model_info", {}, "model_info.export_format"), ("model_info__export_format", 3, "model_info.export_format"),
     ("input_spec__shape", None, "input_spec.shape"), ("input_spec__shape", [], "input_spec.shape"),
     ("input_spec__shape", "1", "input_spec.shape"), ("input_spec__shape", [0], "input_spec.shape"),
     ("input_spec__shape", [-7], "input_spec.shape"), ("input_spec__shape", [1.5], "input_spec.shape"),
     ("input_spec__shape", [1e30], "input_spec.shape"), ("input_spec__shape", [2**31 - 1], "input_spec.shape"),
     ("provenance__export_options__compute_units", 7, "provenance.export_options.compute_units"),
     ("provenance", {}, "provenance.export_options")],
)  # fmt: skip
def test_what_a_runtime_is_told_is_never_guessed(path, value, field):
    with pytest.raises(Thrown) as error:
        swift().facts(made(**{path: value}))
    assert (error.value.value.f_code, error.value.value.f_field) == ("metadata_unsupported", field)


@pytest.mark.parametrize("batch", [-1, 1, 1024])
def test_what_a_runtime_is_told_is_read(batch):
    facts = swift().facts(made(input_spec__shape=[batch, 3, 4, 4]))
    assert (facts.f_exportFormat, facts.f_batch, facts.f_computeUnits) == ("onnx", batch, "cpu_only")
    assert swift().facts(made(provenance={"export_options": {}})).f_computeUnits == "all"


FAULTS = {
    "stretch for letterbox": ("Geometry.swift", "return letterbox(spec, source)", "return stretch(spec, source)", lambda it: places(it, "letterbox")),
    "BGR for RGB": ("Pipeline.swift", "== .bgr", "== .rgb", lambda it: places(it, "stretch")),
    "half a pixel": ("Kernels.swift", "(Double(index) + 0.5) * scale - 0.5", "Double(index) * scale", lambda it: resamples(it, "cv2_linear_u8")),
    "weights of another sum": ("Convolution.swift", "sum += weight", "sum += abs(weight)", lambda it: resamples(it, "pil_bicubic")),
    "another rounding": ("Geometry.swift", "rounded(Double(spec.size.height - height) / 2.0 - 0.1)",
        "rounded(Double(spec.size.height - height) / 2.0 + 0.1)", lambda it: places(it, "letterbox")),
    "dropped NMS": ("NMS.swift", "if !goes", "if true || goes", lambda it: decodes(it, "yolo_v8")),
    "classes suppress each other": ("NMS.swift", "agnostic ? 0 :", "true ? 0 :", lambda it: decodes(it, "yolo_v8")),
    "angle left out": ("Rotated.swift", "(w - h) * cosine * sine", "(w - h) * cosine", lambda it: decodes(it, "yolo_v8_obb")),
    "keypoints shifted": ("Decoders/Yolo.swift", "extra[start + 1]", "extra[start]", lambda it: decodes(it, "yolo_v8_pose")),
    "runs along rows": ("Masks.swift", "(column + left) * size.height + top", "(column + left) * size.width + top", lambda it: decodes(it, "yolo_v8_segment")),
    "no object counts": ("Decoders/Detr.swift", "likely.dropLast()", "likely", lambda it: decodes(it, "detr_softmax", [{"confidence": 0.1}])),
    "Float meets Double": ("Bilinear.swift", "Float(index) + 0.5", "Double(index) + 0.5", lambda it: decodes(it, "semantic_logits")),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows(fault):
    file, old, new, ask = FAULTS[fault]
    broken = Core(core({file.rpartition("/")[2]: (old, new)}))
    with suppress(SwiftTrap, Thrown, IndexError):
        assert ask(broken)
