"""The camera samples of edge packages for Linux devices, run as their READMEs say."""

import asyncio
import importlib.util
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts import keys
from contracts.deployment import EdgePackageConfig
from contracts.vocabulary import TargetPlatform
from packager import edge_package, export_package, wrappers
from packager.export_package import Package
from processing import goldens

from .conftest import make_artefact
from .test_container_run import unpacked

DEVICES = (TargetPlatform.RASPBERRY_PI, TargetPlatform.JETSON, TargetPlatform.LINUX)
CAMERA = "sample_code/camera/camera.py"
PATHS = re.compile(r"(?:sample_code|runtimes)/[\w./-]+")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """One export for all tests here, which change nothing of it."""
    folder = tmp_path_factory.mktemp("export")
    artefact = make_artefact(folder)
    return asyncio.run(export_package.assemble(artefact.metadata, artefact.sources(), folder))


def edge(package: Package, device: TargetPlatform, folder: Path) -> Path:
    """An edge package, unpacked."""
    made = folder / "made"
    made.mkdir()
    config = EdgePackageConfig(target_platform=device)
    return unpacked(edge_package.build(package.metadata, package.members, config, made), folder / "unpacked")


@pytest.fixture
def on_pi(package: Package, tmp_path: Path) -> Path:
    return edge(package, TargetPlatform.RASPBERRY_PI, tmp_path)


@pytest.fixture
def camera(on_pi: Path) -> ModuleType:
    """camera.py of the package, as a module."""
    spec = importlib.util.spec_from_file_location("camera_sample", on_pi / CAMERA)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_of_pictures_gives_the_golden_predictions(on_pi: Path, tmp_path: Path) -> None:
    vectors, arrays = goldens.read((on_pi / keys.GOLDENS).read_bytes())
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "notes.txt").write_text("no picture")
    for number, example in enumerate(vectors["model"]):
        Image.fromarray(arrays[example["picture"]]).save(pictures / f"{number}.PNG")
    done = subprocess.run(
        (sys.executable, CAMERA, "--source", str(pictures)), cwd=on_pi, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["picture"] for line in lines] == [f"{number}.PNG" for number in range(len(vectors["model"]))]
    for line, example in zip(lines, vectors["model"], strict=True):
        assert line["milliseconds"] > 0
        assert [one["class_id"] for one in line["predictions"]] == [one["class_id"] for one in example["predictions"]]
        for ours, golden in zip(line["predictions"], example["predictions"], strict=True):
            assert ours["confidence"] == pytest.approx(golden["confidence"], abs=1e-4)
            assert ours["bbox"] == pytest.approx(golden["bbox"], abs=0.05)


def test_a_camera_runs_until_it_is_told_to_stop(on_pi: Path, tmp_path: Path) -> None:
    """A module of the name picamera2 stands in for the camera, which never ends."""
    stand_in = tmp_path / "modules" / "picamera2.py"
    stand_in.parent.mkdir()
    stand_in.write_text(
        "import numpy as np\n"
        "class Picamera2:\n"
        "    global_camera_info = staticmethod(lambda: [{}])\n"
        "    def create_video_configuration(self, main): return main\n"
        "    def configure(self, main): assert main['format'] == 'BGR888'\n"
        "    def capture_array(self, name): return np.full((32, 48, 3), 200, np.uint8)\n"
        "    def start(self): pass\n"
        "    def stop(self): print('stopped', flush=True)\n"
        "    def close(self): print('closed', flush=True)\n"
    )
    running = subprocess.Popen(
        (sys.executable, CAMERA), cwd=on_pi, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(stand_in.parent)}
    )
    try:
        assert running.stdout
        first = [running.stdout.readline() for _ in range(3)]
        assert all(json.loads(line)["predictions"] for line in first)
        running.send_signal(signal.SIGTERM)
        rest, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0
    assert rest.splitlines()[-2:] == ["stopped", "closed"]


class UsbCamera:
    """OpenCV's camera: two pictures whose first channel is blue, then none."""

    def __init__(self, source: object, *_api: int) -> None:
        self.source, self.left, self.released = source, 2, False

    def isOpened(self) -> bool:
        return self.source != 7

    def set(self, _what: int, _value: float) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        picture = np.zeros((4, 6, 3), np.uint8)
        picture[:, :, 0] = 255
        return self.left >= 0, picture if self.left >= 0 else None

    def release(self) -> None:
        self.released = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[UsbCamera]:
    import cv2

    cameras: list[UsbCamera] = []

    def opens(*arguments: Any) -> UsbCamera:
        cameras.append(UsbCamera(*arguments))
        return cameras[-1]

    monkeypatch.setattr(cv2, "VideoCapture", opens)
    return cameras


@pytest.mark.parametrize(
    ("asked", "source"), [("", 0), ("1", 1), ("rtsp://x/y", "rtsp://x/y"), ("a ! appsink", "a ! appsink")]
)
def test_opencv_s_blue_first_pixels_are_turned_round(
    camera: ModuleType, opened: list[UsbCamera], asked: str, source: object
) -> None:
    frames: Iterator[Any] = camera.frames(asked)
    pictures = [next(frames), next(frames)]
    assert opened[0].source == source
    for frame in pictures:
        assert frame.image[0, 0].tolist() == [0, 0, 255]
        assert frame.image.flags.c_contiguous
    with pytest.raises(camera.CameraError, match="gives no more pictures"):
        next(frames)
    assert opened[0].released


def test_a_camera_that_is_not_there_is_told_with_what_would_work(camera: ModuleType, opened: list[UsbCamera]) -> None:
    with pytest.raises(camera.CameraError, match="no camera at '7'; give --source"):
        next(camera.frames("7"))
    assert opened[0].released
    with pytest.raises(camera.CameraError, match="apt install python3-picamera2"):
        next(camera.frames("picamera2"))


@pytest.mark.parametrize("asked", ["", "picamera2"])
def test_a_camera_library_of_another_numpy_is_told_with_what_mends_it(
    on_pi: Path, camera: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: str
) -> None:
    """As Raspberry Pi OS's simplejpeg, built for numpy 1, says it of numpy 2."""
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(camera.CameraError, match=r"numpy\.dtype size changed\): pip install -r (\S+)") as error:
        next(camera.frames(asked))
    named = on_pi / str(error.value).rpartition(" ")[2]
    assert "simplejpeg==" in named.read_text()
    assert str(named.relative_to(on_pi)) in (on_pi / "sample_code/raspberry_pi/README.md").read_text()


def test_the_pi_s_own_camera_comes_first_where_there_is_one(
    camera: ModuleType, opened: list[UsbCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, str]] = []
    module = SimpleNamespace(Picamera2=SimpleNamespace(global_camera_info=lambda: found))
    monkeypatch.setitem(sys.modules, "picamera2", module)
    next(camera.frames(""))
    assert len(opened) == 1
    found.append({"Model": "imx708"})
    with pytest.raises(TypeError):  # the stand-in cannot be called: it is what was chosen
        next(camera.frames(""))
    assert len(opened) == 1


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_device_s_readme_names_is_in_its_package(
    device: TargetPlatform, package: Package, tmp_path: Path
) -> None:
    folder = edge(package, device, tmp_path)
    texts = [folder / "sample_code" / device / "README.md", folder / "sample_code/camera/modelport-camera.service"]
    named = {name.rstrip(".") for text in texts for name in PATHS.findall(text.read_text())}
    assert {CAMERA, "sample_code/camera/cpp", "runtimes/python/verify.py"} <= named
    assert [name for name in sorted(named) if not (folder / name).exists()] == []


def test_samples_can_be_left_out(package: Package, tmp_path: Path) -> None:
    config = EdgePackageConfig(target_platform=TargetPlatform.LINUX, includes_sample_code=False)
    folder = unpacked(edge_package.build(package.metadata, package.members, config, tmp_path), tmp_path / "unpacked")
    assert not (folder / "sample_code").exists()
    assert (folder / "runtimes" / "cpp").is_dir()


def test_opencv_is_the_release_that_kernels_are_verified_with() -> None:
    text = edge_package.sample_files(TargetPlatform.LINUX)["sample_code/camera/requirements.txt"].decode()
    assert f"opencv-python-headless=={wrappers.PINS['opencv-python-headless']}" in text.splitlines()
