"""What can be asked of a deployment, one struct per type."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contracts.errors import FieldError, Permanent
from contracts.mistakes import explain
from contracts.vocabulary import DeploymentType, TargetPlatform

ImageName = Annotated[
    str,
    Meta(
        max_length=128,
        pattern=r"^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?![\s\S])",
    ),
]
ImageTag = Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(?![\s\S])")]
Registry = Annotated[
    str, Meta(max_length=253, pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?![\s\S])")
]
ImageReference = Annotated[str, Meta(max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*(?![\s\S])")]
"""Grammar of the OCI distribution specification; nothing that a Dockerfile or a shell could take for more than a name."""

SPELLINGS: dict[str, str] = {
    "config.image_name": "at most 128 small letters and digits, with . _ - and / between them, such as shapes/detector",
    "config.image_tag": "at most 128 letters, digits, . _ and -, beginning with neither . nor -, such as 1.2",
    "config.registry": "a host with or without a port, such as registry.example.com:5000",
    "config.base_image": "a reference such as nvcr.io/nvidia/tritonserver:26.06-py3, without spaces",
}
"""What the patterns above ask for, in words."""


class DownloadConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="download"):
    """Nothing to choose."""


class AutoScaling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    min_replicas: Annotated[int, Meta(ge=0, le=100)] = 1
    max_replicas: Annotated[int, Meta(ge=1, le=100)] = 1
    target_cpu_utilization: Annotated[int, Meta(ge=10, le=100)] = 70


class PlatformEndpointConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="platform_endpoint"
):
    """How an endpoint is served; thresholds are the defaults of requests that name none."""

    gpu_enabled: bool = False
    auto_scaling: AutoScaling | None = None
    max_batch_size: Annotated[int, Meta(ge=1, le=64)] = 8
    max_queue_delay_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    instances: Annotated[int, Meta(ge=1, le=8)] = 1


class EdgePackageConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="edge_package"
):
    """A package for one kind of device; a format that it cannot run is refused with those that it can (`contracts.wrappers`)."""

    target_platform: TargetPlatform
    includes_sample_code: bool = True


class ContainerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="container"):
    """A folder that builds an image serving the model with Triton.

    `base_image` replaces the operator's, `registry` and the others make the image's reference: `registry/image_name:image_tag`.
    """

    base_image: ImageReference | None = None
    registry: Registry | None = None
    image_name: ImageName | None = None
    image_tag: ImageTag = "latest"


DeploymentConfig = DownloadConfig | PlatformEndpointConfig | EdgePackageConfig | ContainerConfig

CONFIGS: dict[DeploymentType, type[DeploymentConfig]] = {
    DeploymentType.DOWNLOAD: DownloadConfig,
    DeploymentType.PLATFORM_ENDPOINT: PlatformEndpointConfig,
    DeploymentType.EDGE_PACKAGE: EdgePackageConfig,
    DeploymentType.CONTAINER: ContainerConfig,
}

_SHOWN = 100


def parse_deployment_config(deployment_type: DeploymentType, raw: dict[str, object] | None) -> DeploymentConfig:
    """The typed `config` of a request; raises Permanent: "invalid_request" or, for what this release cannot do, "unsupported"."""
    given = {"type": str(deployment_type), **(raw or {})}
    try:
        config = msgspec.convert(given, CONFIGS[deployment_type])
    except msgspec.ValidationError as error:
        wrong = explain(error, CONFIGS[deployment_type], "config")
        name = wrong.field.removeprefix("config.")
        value, has_it = given.get(name), name in CONFIGS[deployment_type].__struct_fields__
        if has_it and wrong.field in SPELLINGS and isinstance(value, str):
            wrong = FieldError(wrong.field, f"cannot be {value[:_SHOWN]!r}; what works: {SPELLINGS[wrong.field]}")
        raise Permanent("invalid_request", f"{wrong.field}: {wrong.message}", fields=(wrong,)) from error
    if isinstance(config, PlatformEndpointConfig):
        _refuse_scaling(config)
    return config


def _refuse_scaling(config: PlatformEndpointConfig) -> None:
    if config.gpu_enabled:
        raise _unsupported("config.gpu_enabled", "no GPU serves endpoints in this release", "false")
    scaling = config.auto_scaling
    if scaling and (scaling.min_replicas, scaling.max_replicas) != (1, 1):
        raise _unsupported(
            "config.auto_scaling", "endpoints run as one replica in this release", "min_replicas 1 and max_replicas 1"
        )


def _unsupported(field: str, reason: str, works: str) -> Permanent:
    return Permanent(
        "unsupported", f"{field}: {reason}.", hint=f"What works: {works}.", fields=(FieldError(field, reason),)
    )
