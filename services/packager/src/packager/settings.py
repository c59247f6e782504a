"""Settings of the packager, read from `MODELPORT_*`."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from contracts.deployment import ImageReference
from servicekit.settings import BusSettings, HttpSettings, S3Settings


class Settings(BusSettings, S3Settings, HttpSettings, frozen=True, kw_only=True):
    """`work_dir` holds the package while it is built, `slots` of them side by side; `model_max_bytes` bounds one model.

    `container_base_image` is what images of container packages start from where a request names nothing else.
    `signing_key_file` is a PEM with the private key that signs packages; without one they are unsigned and say so.
    `runtimes_dir` holds the clean environments in which packages are verified, `verifiers_file` lists programs that verify them in other
    languages (`python -m packager.programs`); one `verify` may take `verify_memory_mib` and `verify_timeout_s`. It runs in a sandbox
    unless `sandbox` is off; without one, models that are programs are run only where `unsandboxed_checkpoints` is accept.
    A package whose format no environment runs here is refused unless `unverified_packages` is accept.
    A packager that is silent for `ack_wait_s` counts as dead, and its jobs are done by another.
    """

    work_dir: str = str(Path(tempfile.gettempdir()) / "modelport-packager")
    slots: Annotated[int, Meta(ge=1, le=64)] = 2
    model_max_bytes: Annotated[int, Meta(gt=0)] = 16 << 30
    container_base_image: ImageReference = "nvcr.io/nvidia/tritonserver:26.06-py3"
    signing_key_file: str = ""
    runtimes_dir: str = ""
    verifiers_file: str = ""
    unverified_packages: Literal["refuse", "accept"] = "refuse"
    verify_memory_mib: Annotated[int, Meta(ge=256)] = 6144
    verify_timeout_s: Annotated[int, Meta(ge=1)] = 600
    sandbox: Literal["auto", "off"] = "auto"
    unsandboxed_checkpoints: Literal["refuse", "accept"] = "refuse"
    ack_wait_s: Annotated[float, Meta(ge=1)] = 30.0
