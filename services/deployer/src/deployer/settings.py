"""Settings of the deployer, read from `MODELPORT_*`."""

from typing import Annotated

from msgspec import Meta

from deployer.reconciler import STRANGER_GRACE_S
from servicekit.settings import BusSettings, HttpSettings, S3Settings


class Settings(BusSettings, S3Settings, HttpSettings, frozen=True, kw_only=True):
    """`triton_threads` is ONNX Runtime's threads per model instance, 0 for all cores.

    `stranger_grace_s`: how long a model stays loaded of which no request tells.
    """

    triton_grpc_url: str
    triton_threads: Annotated[int, Meta(ge=0, le=256)] = 0
    load_timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    reconcile_s: Annotated[float, Meta(gt=0)] = 3.0
    stranger_grace_s: Annotated[float, Meta(ge=0)] = STRANGER_GRACE_S
    model_max_bytes: Annotated[int, Meta(gt=0)] = 2 << 30
