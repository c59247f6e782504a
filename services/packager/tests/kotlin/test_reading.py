"""What Kotlin reads: metadata, JSON, picture files; what it does not know it refuses by name."""

import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from processing import goldens, images
from processing.errors import MetadataError
from processing.pipeline import Pipeline

from .metadata import metadata
from .probe import Refused

FAULTS = {
    "version": {"schema_version": 2},
    "version as a number": {"schema_version": 1.0},
    "no version": {"schema_version": None},
    "method": {"preprocessing__resize__method": "squash"},
    "kernel": {"preprocessing__resize__kernel": "cv2_cubic"},
    "size": {"preprocessing__resize__size": [64]},
    "large size": {"preprocessing__resize__size": [64, 5000]},
    "broken size": {"preprocessing__resize__size": [64, 9.5]},
    "size is text": {"preprocessing__resize__size": "64"},
    "fill": {"preprocessing__resize__fill_value": 256},
    "flag": {"preprocessing__resize__center": 1},
    "crop offset": {"preprocessing__resize__crop_offset": "floor"},
    "no resize": {"preprocessing__resize": 4},
    "normalisation": {"preprocessing__normalize__method": "minmax"},
    "zero": {"preprocessing__normalize__std": [1, 0, 1]},
    "two means": {"preprocessing__normalize__mean": [1, 0]},
    "mean is text": {"preprocessing__normalize__mean": [1, "0", 1]},
    "embedded float": {"preprocessing__normalize__embedded": True, "preprocessing__format": {"dtype": "float32"}},
    "layout": {"preprocessing__format": {"output_layout": "CHW"}},
    "colours": {"preprocessing__format": {"color_space": "GRAY"}},
    "exif": {"preprocessing__format": {"exif_orientation": "yes"}},
    "decoder": {"postprocessing__decoder": "yolo_v99"},
    "threshold": {"postprocessing__nms__iou_threshold": 1.5},
    "detections": {"postprocessing__nms__max_detections": 0},
    "classes": {"classes": {}},
    "a class": {"classes": ["a"]},
    "a class without a name": {"classes": [{"id": 0}]},
    "no outputs": {"output_spec": {}},
    "output without a name": {"output_spec": {"a": {}}},
    "input": {"input_spec": {}},
    "model file": {"model_file": 3},
    "keypoints": {"postprocessing__decoder": "yolo_v8_pose"},
    "keypoint shape": {"postprocessing__decoder": "yolo_v8_pose", "postprocessing__keypoint_shape": [4, 5]},
    "outputs": {"postprocessing__decoder": "detr_sigmoid"},
    "masks": {
        "postprocessing__decoder": "yolo_v8_segment",
        "preprocessing__resize__method": "stretch",
        "output_spec": {"a": {"name": "a"}, "b": {"name": "b"}},
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_unknown_is_refused_by_the_same_name(probe, written, fault):
    document = metadata(**FAULTS[fault])
    with pytest.raises(MetadataError) as expected:
        Pipeline.from_metadata(document)
    with pytest.raises(Refused) as refused:
        probe.ask("metadata", metadata=written(document))
    assert (refused.value.code, refused.value.field) == (expected.value.code, expected.value.field)


def test_outputs_keep_the_order_of_the_file(probe, written):
    names = [f"output {number}" for number in (7, 3, 11, 1, 30, 2, 19, 4)]
    document = metadata(output_spec={f"key {name}": {"name": name} for name in names})
    assert probe.ask("metadata", metadata=written(document)) == names


TEXTS = [
    '{"a": [1, -2.5, 1e3, 1E-2, true, false, null], "b": {"": "x"}}', '"\\u00e9\\n\\t\\"\\\\\\/\\ud83d\\ude80"', "[]", "{}", " 0 ", "-0",
    "9007199254740993", "[[[[]]]]", '"日本語 🚀"', "1.5e400",
]  # fmt: skip
BROKEN = [
    "", "{", "[1,]", "[1 2]", '{"a"}', '{"a": 1,}', '{"a": 1, "a": 2}', "{a: 1}", "'a'", '"\\x"', '"\\u12"', '"\n"', "01", "1.", "+1",
    ".5", "nan", "NaN", "nul", "[1] 2", '"', "[" * 70 + "]" * 70, "\ufeff1",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_json_is_read_as_python_reads_it(probe, text):
    expected = json.loads(text)
    got = probe.ask("json", text=text)
    assert got == (None if expected == float("inf") else expected)


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_not_json_is_refused(probe, text):
    with pytest.raises(Refused) as refused:
        probe.ask("json", text=text)
    assert refused.value.code == "json"


def noise(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def exif(orientation, order):
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(
        f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0
    )


FILES = {
    "rgb.png": lambda path: Image.fromarray(noise(5, 7)).save(path),
    "rgba.png": lambda path: Image.fromarray(np.dstack([noise(5, 7), noise(5, 7)[..., 0]])).save(path),
    "gray.png": lambda path: Image.fromarray(noise(6, 5)[..., 0]).save(path),
    "gray with alpha.png": lambda path: Image.fromarray(noise(6, 5)[..., :2], "LA").save(path),
    "palette.png": lambda path: Image.fromarray(noise(9, 4)).quantize(16).save(path),
    "one bit.png": lambda path: Image.fromarray(noise(9, 13)[..., 0] > 128).save(path),
    "gray 16.png": lambda path: cv2.imwrite(str(path), noise(5, 7)[..., 0].astype(np.uint16) * 255 + 77),
    "rgb 16.png": lambda path: cv2.imwrite(str(path), noise(5, 7).astype(np.uint16) * 251 + 3),
    "rgb.bmp": lambda path: Image.fromarray(noise(5, 7)).save(path),
    "gray.bmp": lambda path: Image.fromarray(noise(5, 7)[..., 0]).save(path),
    "flat.jpg": lambda path: Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(path, quality=95),
    "flat gray.jpg": lambda path: Image.fromarray(np.full((16, 32), 90, np.uint8)).save(path, quality=95),
} | {
    f"turned {turn}{order}.png": lambda path, turn=turn, order=order: Image.fromarray(noise(5, 7)).save(path, exif=exif(turn, order))
    for turn in range(1, 9)
    for order in "<>"
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("applied", [True, False])
def test_picture_files_give_the_same_pixels(probe, tmp_path, name, applied):
    FILES[name](tmp_path / name)
    expected = images.decode((tmp_path / name).read_bytes(), apply_orientation=applied)
    got = probe.ask("decode", file=tmp_path / name, exif=applied)
    assert got == {"shape": list(expected.shape), "crc32": zlib.crc32(np.ascontiguousarray(expected).tobytes())}


@pytest.mark.parametrize("config", ["ARGB_8888", "HARDWARE"])
def test_a_bitmap_of_android_gives_its_pixels_without_alpha(probe, config):
    asked = {"pattern": "noise", "height": 5, "width": 9, "seed": 4}
    expected = goldens.draw(**asked)
    assert probe.ask("bitmap", config=config, **asked) == {"shape": [5, 9, 3], "crc32": zlib.crc32(expected.tobytes())}


def test_a_turned_jpeg_is_turned(probe, tmp_path):
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, 16:] = 200
    Image.fromarray(picture).save(tmp_path / "turned.jpg", quality=95, exif=b"Exif\0\0" + exif(6, ">"))
    expected = images.decode((tmp_path / "turned.jpg").read_bytes())
    assert expected.shape == (32, 16, 3)
    got = probe.ask("decode", file=tmp_path / "turned.jpg", exif=True)
    assert got == {"shape": [32, 16, 3], "crc32": zlib.crc32(expected.tobytes())}


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM" + bytes(60), b"RIFF\0\0\0\0WEBP"],
)
def test_what_is_no_picture_is_refused(probe, tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(Refused) as refused:
        probe.ask("decode", file=tmp_path / "file", exif=True)
    assert refused.value.code == "image_unreadable"


def test_inks_are_not_taken_for_colours(probe, tmp_path):
    """Java gives the four inks of a CMYK file as they are: three of them would be a picture, and a wrong one."""
    Image.fromarray(noise(16, 24)).convert("CMYK").save(tmp_path / "inks.jpg")
    with pytest.raises(Refused, match="CMYK") as refused:
        probe.ask("decode", file=tmp_path / "inks.jpg", exif=True)
    assert refused.value.code == "image_unreadable"


def test_a_giant_is_refused_before_it_is_decoded(probe, tmp_path):
    body = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    (tmp_path / "giant.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + end)
    with pytest.raises(Refused) as refused:
        probe.ask("decode", file=tmp_path / "giant.png", exif=True)
    assert refused.value.code == "image_too_large"
