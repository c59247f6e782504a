"""Masks, keypoints and rotated boxes: read, listed and drawn."""

import json
from math import pi

import pytest
from PIL import Image

from modelport.cli.app import main
from modelport.drawing import corners, draw
from modelport.errors import ClientError
from modelport.predictions import Mask, Prediction

WHITE = (255, 255, 255)
MASK = {"size": [30, 40], "counts": [300, 450, 450]}
FOUND = [
    {"class": "cat", "class_id": 0, "confidence": 0.9, "bbox": [10, 0, 25, 30], "mask": MASK},
    {
        "class": "dog",
        "class_id": 1,
        "confidence": 0.8,
        "bbox": [5, 5, 9, 9],
        "keypoints": [[30, 20, 0.9], [3, 25, 0.1]],
    },
    {"class": "van", "class_id": 2, "confidence": 0.7, "bbox": [20, 5, 36, 21], "rotated_box": [28, 13, 10, 4, pi / 4]},
]


@pytest.fixture(autouse=True)
def _environment(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MODELPORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELPORT_PROXY_URL", server.url)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30), "white").save(path)
    return path


def test_what_a_task_adds_is_listed_and_drawn(server, picture, tmp_path, capsys):
    server.json("POST", "/v1/infer/d1", {"predictions": FOUND, "latency_ms": 3.5, "model_version": "v1"})
    drawn = tmp_path / "b.png"
    assert main(["infer", "d1", str(picture), "--key", "pk_k", "-o", str(drawn)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for part in ("mask of 450 pixels", "(30, 20)", "10.0 x 4.0 at 28.0, 13.0", "45.0°"):
        assert part in told
    with Image.open(drawn) as image:
        red, green, blue = image.getpixel((15, 25))
        assert red > green > 100, "the picture is seen through the mask"
        assert blue > 100
        assert image.getpixel((30, 20)) == (60, 180, 75)
        assert image.getpixel((3, 25)) == WHITE, "a point out of sight"
        assert image.getpixel((36, 27)) == WHITE


def test_json_has_the_fields_that_the_task_has(server, picture, capsys):
    server.json("POST", "/v1/infer/d1", {"predictions": FOUND, "latency_ms": 3.5, "model_version": "v1"})
    assert main(["infer", "d1", str(picture), "--key", "pk_k", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == FOUND


def test_a_mask_counts_down_the_columns():
    mask = Mask(size=(2, 3), counts=(1, 2, 3))
    assert mask.columns() == bytes([0, 255, 255, 0, 0, 0])
    assert mask.area == 2


@pytest.mark.parametrize("counts", [(5,), (1, 2, 4), (7, -1), ()])
def test_counts_of_another_size_are_refused(counts):
    with pytest.raises(ClientError, match="3 x 2"):
        Mask(size=(2, 3), counts=counts).columns()


def test_a_mask_of_another_picture_is_not_drawn(picture, tmp_path):
    found = Prediction(class_name="a", class_id=0, confidence=1.0, bbox=None, mask=Mask(size=(2, 3), counts=(6,)))
    with pytest.raises(ClientError, match="not of this one"):
        draw(picture, [found], tmp_path / "b.png")


def test_the_corners_of_a_turned_box():
    expected = [(4.0, 7.0), (6.0, 7.0), (6.0, 3.0), (4.0, 3.0)]
    for (x, y), (a, b) in zip(corners(5, 5, 4, 2, pi / 2), expected, strict=True):
        assert (x, y) == (pytest.approx(a), pytest.approx(b))
