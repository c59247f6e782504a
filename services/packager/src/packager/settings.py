"""Settings of the packager, read from `MODELPORT_*`."""

import tempfile
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from contracts.deployment import ImageReference
from servicekit.settings import BusSettings, HttpSettings, S3Settings


class Settings(BusSettings, S3Settings, HttpSettings, frozen=True, kw_only=True):
    """`work_dir` holds the package while it is built, `slots` of them side by side; `model_max_bytes` bounds one model.

    `container_base_image` is what images of container packages start from where a request names nothing else.
    `signing_key_file` is a PEM with the private key that signs packages; without one they are unsigned and say so.
    A packager that is silent for `ack_wait_s` counts as dead, and its jobs are done by another.
    """

    work_dir: str = str(Path(tempfile.gettempdir()) / "modelport-packager")
    slots: Annotated[int, Meta(ge=1, le=64)] = 2
    model_max_bytes: Annotated[int, Meta(gt=0)] = 16 << 30
    container_base_image: ImageReference = "nvcr.io/nvidia/tritonserver:26.06-py3"
    signing_key_file: str = ""
    ack_wait_s: Annotated[float, Meta(ge=1)] = 30.0
