"""Calls to a live endpoint: picture in, predictions out."""

import base64
from pathlib import Path
from uuid import UUID

from modelport.errors import ClientError
from modelport.models import Inference
from modelport.transport import Transport


class Endpoint:
    """One deployed model, called with an API key (`pk_…`)."""

    def __init__(
        self, proxy_url: str, deployment_id: UUID | str, api_key: str, *, timeout_s: float = 30.0, attempts: int = 3
    ) -> None:
        if not proxy_url:
            raise ClientError("The address of the inference proxy is not known.", "Give it as proxy_url.")
        self._transport = Transport(proxy_url, api_key, timeout_s=timeout_s, attempts=attempts)
        self._path = f"/v1/infer/{deployment_id}"

    def infer(
        self, image: bytes | Path, *, confidence_threshold: float | None = None, iou_threshold: float | None = None
    ) -> Inference:
        """Predictions for an encoded picture (JPEG, PNG, WebP, BMP); thresholds default to the deployment's."""
        encoded = image if isinstance(image, bytes) else image.read_bytes()
        body: dict[str, object] = {"image": base64.b64encode(encoded).decode()}
        optional = {"confidence_threshold": confidence_threshold, "iou_threshold": iou_threshold}
        body |= {name: value for name, value in optional.items() if value is not None}
        return self._transport.call("POST", self._path, Inference, body=body)

    def close(self) -> None:
        self._transport.close()
