"""The LiteRT backend of Kotlin: a stand-in of LiteRT's Java API over the real native runtime, and what its sources compile against.

`tiny.tflite` takes float32 [1, 3, 8, 12] and gives the mean colours as `scores`, twice that as `doubled`: made by litert-torch 0.10 of
`means = images.mean((2, 3)); return {"scores": means, "doubled": means * 2}`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from processing import goldens
from processing.pipeline import Pipeline

from .metadata import metadata
from .probe import Refused

MODEL = Path(__file__).with_name("tiny.tflite")
PICTURES = [("ramp", 40, 90, 1), ("noise", 9, 5, 2)]


def package(folder, **changes):
    more = {
        "model_file": "model.tflite",
        "preprocessing__resize": {"method": "stretch", "size": [8, 12], "kernel": "pil_bilinear"},
        "output_spec": {"first": {"name": "scores"}, "second": {"name": "doubled"}},
    }
    document = metadata("softmax", 3, **{**more, **changes})
    (folder / "metadata.json").write_text(json.dumps(document))
    shutil.copyfile(MODEL, folder / "model.tflite")
    return document


def ask(probe, folder):
    drawn = [dict(zip(("pattern", "height", "width", "seed"), picture, strict=True)) for picture in PICTURES]
    return probe.ask("litert", package=folder, pictures=drawn)


def test_the_model_runs_from_its_file_and_from_memory(probe, tmp_path):
    pipeline = Pipeline.from_metadata(package(tmp_path))
    answers = ask(probe, tmp_path)
    assert len(answers) == 2
    for answer in answers:
        for picture, told in zip(PICTURES, answer, strict=True):
            tensor, geometry = pipeline.preprocess(goldens.draw(*picture))
            means = tensor.astype(np.float64).mean((2, 3)).astype(np.float32)
            assert list(told["outputs"]) == ["scores", "doubled"]
            for name, expected in (("scores", means), ("doubled", 2 * means)):
                assert told["outputs"][name]["shape"] == [1, 3]
                np.testing.assert_allclose(told["outputs"][name]["values"], expected[0], rtol=1e-4, atol=1e-6)
            found = pipeline.postprocess({"scores": means, "doubled": means}, geometry)
            assert [p["class_id"] for p in told["predictions"]] == [p.class_id for p in found]


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"output_spec": {"a": {"name": "boxes"}}}, "output_spec", r"names 'boxes', the model gave"),
        (
            {"preprocessing__resize": {"method": "stretch", "size": [8, 8], "kernel": "pil_bilinear"}},
            "input_spec.shape",
            r"\[1, 3, 8, 8\], the model takes \[1, 3, 8, 12\]",
        ),
    ],
)
def test_metadata_of_another_model_is_refused(probe, tmp_path, changes, field, told):
    package(tmp_path, **changes)
    with pytest.raises(Refused, match=told) as refused:
        ask(probe, tmp_path)
    assert (refused.value.code, refused.value.field) == ("metadata_unsupported", field)


def test_a_damaged_model_is_the_backends_error(probe, tmp_path):
    package(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"no model at all")
    with pytest.raises(Refused, match="cannot load the model") as refused:
        ask(probe, tmp_path)
    assert refused.value.code == "runtime_unavailable"
