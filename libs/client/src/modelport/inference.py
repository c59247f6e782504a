"""Calls to a live endpoint: picture in, predictions out."""

import base64
from pathlib import Path
from uuid import UUID, uuid4

from modelport.errors import ClientError
from modelport.predictions import Inference
from modelport.transport import IDEMPOTENCY_KEY, Transport

SIGNATURES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"BM", "image/bmp"))


def media_type_of(encoded: bytes) -> str | None:
    """The type that a picture file's first bytes tell; None where only the server can say."""
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for signature, kind in SIGNATURES if encoded.startswith(signature)), None)


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
        """Predictions for an encoded picture (JPEG, PNG, WebP, BMP); thresholds default to the deployment's.

        A busy proxy and a full minute are waited for as long as the answer says, up to a minute; a used up month is not.
        A lost connection is tried again under the same Idempotency-Key, so that the request is billed once.
        """
        encoded = image if isinstance(image, bytes) else image.read_bytes()
        optional = {"confidence_threshold": confidence_threshold, "iou_threshold": iou_threshold}
        thresholds = {name: value for name, value in optional.items() if value is not None}
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        media_type = media_type_of(encoded)
        if media_type is None:
            body = {"image": base64.b64encode(encoded).decode(), **thresholds}
            return self._transport.call("POST", self._path, Inference, body=body, headers=headers)
        query = {name: repr(value) for name, value in thresholds.items()}
        headers["Content-Type"] = media_type
        return self._transport.call("POST", self._path, Inference, content=encoded, query=query, headers=headers)

    def close(self) -> None:
        self._transport.close()
