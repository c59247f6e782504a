"""provenance/statement.intoto.json: an in-toto Statement v1 with SLSA provenance v1: what was made from what, by which tools.

No level of SLSA is claimed. Nothing in it depends on the clock or names a job, so that the same inputs give the same bytes.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, field

from contracts.model_package import FileDigest, ModelMetadata

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:modelport:build:{kind}:v1"
BUILDER = "urn:modelport:packager"


class Part(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of the statement; what is empty is left out."""


class Resource(Part, frozen=True, kw_only=True):
    """A ResourceDescriptor of in-toto."""

    name: str
    digest: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Definition(Part, frozen=True, kw_only=True):
    build_type: str
    external_parameters: dict[str, object]
    """What was asked for."""
    internal_parameters: dict[str, object]
    """What Modelport chose itself."""
    resolved_dependencies: tuple[Resource, ...]


class Builder(Part, frozen=True, kw_only=True):
    id: str
    version: dict[str, str]


class Details(Part, frozen=True, kw_only=True):
    builder: Builder


class Provenance(Part, frozen=True, kw_only=True):
    build_definition: Definition
    run_details: Details


class Statement(Part, frozen=True, kw_only=True, omit_defaults=False):
    type: str = field(name="_type", default=STATEMENT_TYPE)
    subject: tuple[Resource, ...]
    predicate_type: str = PREDICATE_TYPE
    predicate: Provenance


class Build(Struct, frozen=True, kw_only=True):
    """`kind` such as export-package; `configuration` is what was asked for beside the export's own options."""

    kind: str
    configuration: Mapping[str, object]
    builder: Mapping[str, str]


def render(metadata: ModelMetadata, files: Sequence[FileDigest], build: Build) -> bytes:
    """The statement about these files, which are all of the package but itself and the signature."""
    statement = Statement(
        subject=tuple(Resource(name=file.path, digest={"sha256": file.sha256}) for file in files),
        predicate=Provenance(
            build_definition=Definition(
                build_type=BUILD_TYPE.format(kind=build.kind),
                external_parameters=_asked(metadata, build),
                internal_parameters=_chosen(metadata),
                resolved_dependencies=(_checkpoint(metadata), *_toolchain(metadata)),
            ),
            run_details=Details(builder=Builder(id=BUILDER, version=dict(sorted(build.builder.items())))),
        ),
    )
    return msgspec.json.format(msgspec.json.encode(statement), indent=2) + b"\n"


def _asked(metadata: ModelMetadata, build: Build) -> dict[str, object]:
    info, made = metadata.model_info, metadata.provenance
    return {
        "framework": str(info.framework),
        "task_type": str(info.task_type),
        "model_name": info.model_name,
        "version": info.version,
        "export_format": str(info.export_format),
        "export_options": made.export_options,
        "optimization": made.optimization,
        "package": dict(build.configuration),
    }


def _chosen(metadata: ModelMetadata) -> dict[str, object]:
    made = metadata.provenance
    return {
        "route": list(made.route),
        "rewrites": list(made.rewrites),
        "precision": str(metadata.precision),
        "proof": str(metadata.parity.proof),
    }


def _checkpoint(metadata: ModelMetadata) -> Resource:
    note = "SHA-256 of the file; of a folder, that of its sorted list of digests and names"
    digest = {"sha256": metadata.provenance.checkpoint_sha256}
    return Resource(name="checkpoint", digest=digest, annotations={"digest": note})


def _toolchain(metadata: ModelMetadata) -> list[Resource]:
    tools = sorted(metadata.provenance.toolchain.items())
    return [Resource(name=name, annotations={"release": release}) for name, release in tools]
