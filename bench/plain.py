"""What a person does without the platform: the library's own export command in a fresh process."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contracts.vocabulary import ExportFormat

OPSET = 17
PLAIN: dict[ExportFormat, str] = {
    # what Ultralytics calls them; it builds TensorRT engines only where there is a GPU
    ExportFormat.ONNX: f"format='onnx', opset={OPSET}",
    ExportFormat.TORCHSCRIPT: "format='torchscript'",
    ExportFormat.OPENVINO: "format='openvino'",
    ExportFormat.COREML: "format='coreml'",
    ExportFormat.TFLITE: "format='litert'",
}
LITERT = Path(".venv-litert/bin/python").absolute()
QUIET = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "CUDA_VISIBLE_DEVICES": ""}


def plain_seconds(checkpoint: Path, name: ExportFormat) -> float:
    """Seconds from the start of the interpreter to its end; the library writes beside the checkpoint, so that is a copy."""
    python = str(LITERT) if name is ExportFormat.TFLITE else sys.executable
    script = f"import sys; from ultralytics import YOLO; YOLO(sys.argv[1]).export({PLAIN[name]})"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(checkpoint, folder))
        environment = {**os.environ, **QUIET, "YOLO_CONFIG_DIR": folder}
        began = time.perf_counter()
        subprocess.run([python, "-c", script, str(copy)], check=True, capture_output=True, cwd=folder, env=environment)
        seconds = time.perf_counter() - began
        if len(list(Path(folder).iterdir())) < 2:
            raise RuntimeError(f"the plain export to {name} wrote nothing")
    return seconds
