"""Deployments: packages to download and live endpoints."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from contracts.vocabulary import DeploymentStatus, DeploymentType
from modelport import sse, transfer
from modelport.errors import ClientError
from modelport.models import ApiKey, Deployment, DeploymentEvent, DeploymentState, Download, Page, Usage
from modelport.paging import everything
from modelport.transport import IDEMPOTENCY_KEY, Transport

PATH = "/api/v1/deployments"
SETTLED = frozenset({DeploymentStatus.ACTIVE, DeploymentStatus.INACTIVE, DeploymentStatus.FAILED})


class Deployments:
    """/api/v1/deployments."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        export_job_id: UUID | str,
        deployment_type: DeploymentType | str,
        name: str,
        *,
        description: str | None = None,
        config: dict[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> Deployment:
        """Ask for a deployment; only this answer carries the `api_key` of an endpoint."""
        body: dict[str, object] = {
            "export_job_id": str(export_job_id),
            "deployment_type": str(deployment_type),
            "name": name,
        }
        body |= {key: value for key, value in (("description", description), ("config", config)) if value is not None}
        headers = {IDEMPOTENCY_KEY: idempotency_key or str(uuid4())}
        return self._transport.call("POST", PATH, Deployment, body=body, headers=headers)

    def get(self, deployment_id: UUID | str) -> Deployment:
        return self._transport.call("GET", f"{PATH}/{deployment_id}", Deployment)

    def list(self, limit: int | None = None) -> Iterator[Deployment]:
        """Newest first; pages are fetched as they are needed."""
        return everything(self._transport, PATH, Page[Deployment], limit=limit)

    def wait(
        self,
        deployment_id: UUID | str,
        *,
        timeout_s: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
        on_state: Callable[[Deployment], None] | None = None,
    ) -> Deployment:
        """The deployment once it is active, inactive or failed; raises ClientError when that takes too long.

        `on_state` is told what it is while that is waited for.
        """
        deadline = time.monotonic() + timeout_s
        while (found := self.get(deployment_id)).status not in SETTLED:
            if on_state:
                on_state(found)
            if time.monotonic() > deadline:
                raise ClientError(
                    f"The deployment is still {found.status} after {timeout_s:.0f} s.",
                    f"Look at its history: GET {PATH}/{deployment_id}/history.",
                )
            sleep(0.2)
        return found

    def follow(self, deployment_id: UUID | str) -> Iterator[DeploymentState]:
        """What the deployment is, whenever that changes, until it has settled; survives broken connections."""
        for event in sse.follow(self._transport, f"{PATH}/{deployment_id}/events", lambda one: one.event in SETTLED):
            yield msgspec.json.decode(event.data, type=DeploymentState)

    def history(self, deployment_id: UUID | str) -> Iterator[DeploymentEvent]:
        """What has happened to it, in the server's order."""
        return everything(self._transport, f"{PATH}/{deployment_id}/history", Page[DeploymentEvent])

    def usage(self, deployment_id: UUID | str) -> Usage:
        return self._transport.call("GET", f"{PATH}/{deployment_id}/usage", Usage)

    def deactivate(self, deployment_id: UUID | str) -> Deployment:
        return self._transport.call("POST", f"{PATH}/{deployment_id}/deactivate", Deployment)

    def reactivate(self, deployment_id: UUID | str) -> Deployment:
        return self._transport.call("POST", f"{PATH}/{deployment_id}/reactivate", Deployment)

    def delete(self, deployment_id: UUID | str) -> None:
        self._transport.call("DELETE", f"{PATH}/{deployment_id}", object)

    def rotate_key(self, deployment_id: UUID | str) -> ApiKey:
        """A new key; the old one stops working within a second."""
        headers = {IDEMPOTENCY_KEY: str(uuid4())}
        return self._transport.call("POST", f"{PATH}/{deployment_id}/rotate-key", ApiKey, headers=headers)

    def link(self, deployment_id: UUID | str) -> Download:
        """A presigned link to the deployment's own package, or of an endpoint to the package of its export."""
        return self._transport.call("GET", f"{PATH}/{deployment_id}/download", Download)

    def download(
        self, deployment_id: UUID | str, target: Path, progress: transfer.Progress = transfer.no_progress
    ) -> Path:
        """Fetch the package to `target`, checked against its digest where the server tells it."""
        link = self.link(deployment_id)
        return transfer.get_file(link.download_url, target, link.sha256, progress)
