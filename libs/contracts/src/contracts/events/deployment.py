"""Requests and facts of deployments. A request says what should be; facts say what is."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from contracts.deployment import DeploymentConfig
from contracts.errors import ErrorInfo
from contracts.keys import ObjectRef
from contracts.model_package import ModelMetadata
from contracts.vocabulary import DeploymentStage, DeploymentType, DesiredState, ExportFormat, Tier

Generation = Annotated[int, Meta(ge=1)]


class Access(Struct, frozen=True, kw_only=True):
    """Who may call an endpoint: HMAC digests of its keys, and whose quota a call uses."""

    user_id: UUID
    tier: Tier
    key_digests: tuple[str, ...]


class DeploymentRequestedV1(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="deployment.targets.requested.v1",
):
    """What a deployment should be; a higher `generation` replaces a lower one. Routed by deployment type."""

    deployment_id: UUID
    export_job_id: UUID
    generation: Generation
    desired: DesiredState
    deployment_type: DeploymentType
    name: str
    config: DeploymentConfig
    export_format: ExportFormat
    model_version: Annotated[int, Meta(ge=1)]
    model: ObjectRef
    metadata: ModelMetadata
    access: Access


class DeploymentProgressedV1(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="deployment.targets.progressed.v1"
):
    """How far a package is; `message` is for people."""

    deployment_id: UUID
    generation: Generation
    stage: DeploymentStage
    percent: Annotated[float, Meta(ge=0, le=100)]
    message: str = ""


class DeploymentActivatedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="deployment.targets.activated.v1"):
    """The deployment is what was asked for.

    An endpoint's model is loaded and answers (`triton_model`), proxies may route to it; of an edge or container package,
    `package` is the zip.
    """

    deployment_id: UUID
    generation: Generation
    deployment_type: DeploymentType
    triton_model: str = ""
    package: ObjectRef | None = None
    model_version: int
    metadata: ModelMetadata
    access: Access
    load_seconds: float = 0.0


class DeploymentScaledV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="deployment.targets.scaled.v1"):
    """The number of replicas has changed."""

    deployment_id: UUID
    generation: Generation
    replicas: int


class DeploymentUpdatedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="deployment.targets.updated.v1"):
    """Keys, tier or admission have changed; proxies obey at once. `serving` false refuses every call."""

    deployment_id: UUID
    generation: Generation
    revision: Annotated[int, Meta(ge=1)]
    """Counts every change of access or admission; a lower revision never overwrites a higher one."""
    serving: bool
    access: Access


class DeploymentDeactivatedV1(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="deployment.targets.deactivated.v1"
):
    """The model is unloaded; `deleted` says that its files are gone too."""

    deployment_id: UUID
    generation: Generation
    deleted: bool = False


class DeploymentFailedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="deployment.targets.failed.v1"):
    """The deployment could not be made what was asked for."""

    deployment_id: UUID
    generation: Generation
    error: ErrorInfo
