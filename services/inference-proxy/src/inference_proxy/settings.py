"""Settings of the inference proxy, read from `MODELPORT_*`."""

from typing import Annotated

from msgspec import Meta

from servicekit.settings import BusSettings, HttpSettings, PostgresSettings

Seconds = Annotated[float, Meta(gt=0)]


class Settings(BusSettings, PostgresSettings, HttpSettings, frozen=True, kw_only=True):
    """`quota_lease_s` is how long a dead proxy's slice of a quota stays out of reach.

    `stale_after_s` bounds how long keys are believed in while nothing is heard of the bus.
    """

    triton_http_url: str
    key_pepper: Annotated[str, Meta(min_length=16)]
    image_max_bytes: Annotated[int, Meta(gt=0)] = 10 << 20
    image_max_pixels: Annotated[int, Meta(gt=0)] = 20_000_000
    inference_timeout_s: Seconds = 30.0
    body_timeout_s: Seconds = 30.0
    concurrency: Annotated[int, Meta(gt=0)] = 128
    quota_lease_s: Seconds = 30.0
    flush_s: Seconds = 1.0
    idempotency_ttl_s: Seconds = 3600.0
    stale_after_s: Seconds = 10.0
