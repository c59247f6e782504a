"""Predictions of a camera as JSON, one line a picture, until it is stopped: `python camera.py [--source …]`.

A source is `picamera2` (a Raspberry Pi's own camera), a number (of a USB camera), an address or a GStreamer pipeline that ends in
`appsink`, or a folder of pictures, which are taken once each. Without one, the first of these cameras that is there.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PACKAGE = Path(__file__).resolve().parents[2]
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SIZE = (1280, 720)
"""Width and height that a camera is asked for; whatever it gives is taken."""


class CameraError(Exception):
    """There is no such camera, or it stopped; the message says what would work."""


class Frame(NamedTuple):
    """A picture and what it is called; `image` is a file or RGB pixels uint8 [height, width, 3]."""

    name: str
    image: Path | NDArray[np.uint8]


def frames(source: str) -> Iterator[Frame]:
    """The pictures of a source, endless for cameras; raises CameraError."""
    if source == "picamera2" or (source == "" and _has_picamera()):
        return _picamera()
    if source and Path(source).is_dir():
        return _folder(Path(source))
    return _opencv(source or "0")


def _folder(folder: Path) -> Iterator[Frame]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES:
            yield Frame(path.name, path)


def _picamera2() -> Any:
    """The class, None where the library is not installed; CameraError where it does not fit the rest."""
    try:
        from picamera2 import Picamera2
    except ImportError:
        return None
    except ValueError as error:  # the system's simplejpeg, built for an older numpy
        raise CameraError(
            f"picamera2 does not load ({error}): pip install -r sample_code/raspberry_pi/requirements.txt"
        ) from error
    return Picamera2


def _has_picamera() -> bool:
    found = _picamera2()
    return found is not None and bool(found.global_camera_info())


def _picamera() -> Iterator[Frame]:
    found = _picamera2()
    if found is None:
        raise CameraError("picamera2 is missing: apt install python3-picamera2, and a venv with --system-site-packages")
    camera = found()
    # libcamera names formats by the order of bits: BGR888 lies in memory as red, green, blue
    camera.configure(camera.create_video_configuration(main={"format": "BGR888", "size": SIZE}))
    camera.start()
    try:
        while True:
            yield Frame(_now(), camera.capture_array("main")[:, :, :3])
    finally:
        camera.stop()
        camera.close()


def _opencv(source: str) -> Iterator[Frame]:
    try:
        import cv2
    except ImportError as error:
        raise CameraError("OpenCV is missing: pip install -r requirements.txt") from error
    if " ! " in source:
        camera = cv2.VideoCapture(source, cv2.CAP_GSTREAMER)
    else:
        camera = cv2.VideoCapture(int(source) if source.isdigit() else source)
        camera.set(cv2.CAP_PROP_FRAME_WIDTH, SIZE[0])
        camera.set(cv2.CAP_PROP_FRAME_HEIGHT, SIZE[1])
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not one that has waited
    try:
        if not camera.isOpened():
            raise CameraError(f"no camera at {source!r}; give --source a number, an address or a folder of pictures")
        while True:
            is_there, bgr = camera.read()
            if not is_there:
                raise CameraError(f"{source!r} gives no more pictures")
            yield Frame(_now(), np.ascontiguousarray(bgr[:, :, ::-1]))
    finally:
        camera.release()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def watch(model: Any, pictures: Iterator[Frame], limit: int, options: dict[str, Any]) -> None:
    """Print a line for each picture: its name, how long it took, what was found."""
    for number, frame in enumerate(pictures, 1):
        began = time.perf_counter()
        found = [prediction.as_dict() for prediction in model.predict(frame.image, **options)]
        took = round((time.perf_counter() - began) * 1000, 1)
        line = {"picture": frame.name, "milliseconds": took, "predictions": found}
        print(json.dumps(line, ensure_ascii=False), flush=True)
        if number == limit:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="", help="picamera2, a number, an address, a pipeline or a folder")
    parser.add_argument("--package", type=Path, default=PACKAGE, help="the unpacked package, by default this file's")
    parser.add_argument("--limit", type=int, default=0, help="stop after so many pictures")
    parser.add_argument("--confidence-threshold", type=float)
    asked = parser.parse_args()
    sys.path.insert(0, str(asked.package / "runtimes" / "python"))
    from model_wrapper import ModelWrapper

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    options = {"confidence_threshold": asked.confidence_threshold}
    try:
        with ModelWrapper(metadata=asked.package / "metadata.json") as model:
            watch(model, frames(asked.source), asked.limit, options)
    except KeyboardInterrupt:
        return 0
    except (CameraError, OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
