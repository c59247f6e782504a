"""Facts of use."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class InferenceRecordedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="usage.inference.recorded.v1"):
    """Answered requests of one deployment since the last record of one proxy."""

    deployment_id: UUID
    user_id: UUID
    proxy_id: str
    requests: int
    errors: int
    inference_time_ms: float
    first_request_at: datetime
    last_request_at: datetime
