"""provenance/sbom.cdx.json: a CycloneDX 1.6 ML-BOM of one package; what nobody told us stands there as unknown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct, field

from contracts.model_package import FileDigest, ModelMetadata, TensorSpec

NAMESPACE = UUID("6f0e2c1e-6a53-5f6b-9f0a-3f0d5c6f2b11")
MODEL, CHECKPOINT, WRAPPERS = "model", "checkpoint", "wrappers"
UNKNOWN_LICENCE = "unknown: it is that of the weights and of the data and software that they were trained with"
LICENCES: dict[str, str] = {
    "ai-edge-litert": "Apache-2.0",
    "ai-edge-quantizer": "Apache-2.0",
    "coremltools": "BSD-3-Clause",
    "jax": "Apache-2.0",
    "litert-torch": "Apache-2.0",
    "nncf": "Apache-2.0",
    "numpy": "BSD-3-Clause",
    "onnx": "Apache-2.0",
    "onnxruntime": "MIT",
    "opencv-python-headless": "Apache-2.0",
    "openvino": "Apache-2.0",
    "pillow": "MIT-CMU",
    "timm": "Apache-2.0",
    "torch": "BSD-3-Clause",
    "transformers": "Apache-2.0",
    "ultralytics": "AGPL-3.0",
}
"""SPDX identifiers of what docs/licences.md lists; of everything else the licence is unknown here."""
_RELEASE = re.compile(r"[0-9]+(\.[0-9]+)*([a-z]+[0-9]+)?(\+[a-z0-9.]+)?")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:==([^\s;#]+))?")


class Section(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of the document; what is empty is left out."""


class Property(Section, frozen=True, kw_only=True):
    name: str
    value: str


class Hash(Section, frozen=True, kw_only=True):
    alg: str
    content: str


class License(Section, frozen=True, kw_only=True):
    id: str = ""


class LicenseChoice(Section, frozen=True, kw_only=True):
    license: License


class Format(Section, frozen=True, kw_only=True):
    format: str


class Parameters(Section, frozen=True, kw_only=True):
    task: str
    architecture_family: str
    model_architecture: str
    inputs: tuple[Format, ...]
    outputs: tuple[Format, ...]


class Metric(Section, frozen=True, kw_only=True):
    type: str
    value: str
    slice: str = ""


class Analysis(Section, frozen=True, kw_only=True):
    performance_metrics: tuple[Metric, ...]


class Considerations(Section, frozen=True, kw_only=True):
    technical_limitations: tuple[str, ...]


class ModelCard(Section, frozen=True, kw_only=True):
    model_parameters: Parameters
    quantitative_analysis: Analysis
    considerations: Considerations | None = None
    properties: tuple[Property, ...] = ()


class Component(Section, frozen=True, kw_only=True):
    type: str
    bom_ref: str = field(name="bom-ref")
    name: str
    version: str = ""
    description: str = ""
    scope: str = ""
    hashes: tuple[Hash, ...] = ()
    licenses: tuple[LicenseChoice, ...] = ()
    purl: str = ""
    model_card: ModelCard | None = None
    components: tuple["Component", ...] = ()
    properties: tuple[Property, ...] = ()


class Dependency(Section, frozen=True, kw_only=True):
    ref: str
    depends_on: tuple[str, ...] = ()


class Tools(Section, frozen=True, kw_only=True):
    components: tuple[Component, ...]


class About(Section, frozen=True, kw_only=True):
    tools: Tools
    component: Component


class Document(Section, frozen=True, kw_only=True, omit_defaults=False):
    bom_format: str = "CycloneDX"
    spec_version: str = "1.6"
    serial_number: str
    version: int = 1
    metadata: About
    components: tuple[Component, ...]
    dependencies: tuple[Dependency, ...]


class Subject(Struct, frozen=True, kw_only=True):
    """What is described: a package's metadata, the model's own files, `requirements.txt`, and who builds it."""

    metadata: ModelMetadata
    model_files: tuple[FileDigest, ...]
    requirements: str
    builder: Mapping[str, str]


def render(subject: Subject) -> bytes:
    """The document; nothing in it depends on the clock."""
    runtime = tuple(_requirements(subject.requirements))
    toolchain = tuple(_tool(name, release) for name, release in sorted(subject.metadata.provenance.toolchain.items()))
    builder = tuple(_library("builder", name, release) for name, release in sorted(subject.builder.items()))
    components = (_checkpoint(subject.metadata), _wrappers(subject.builder), *toolchain, *runtime)
    uses = (CHECKPOINT, WRAPPERS, *(part.bom_ref for part in runtime))
    others = tuple(Dependency(ref=part.bom_ref) for part in components)
    document = Document(
        serial_number="urn:uuid:" + str(uuid5(NAMESPACE, msgspec.json.encode(subject, order="sorted").decode())),
        metadata=About(tools=Tools(components=builder), component=_model(subject)),
        components=components,
        dependencies=(Dependency(ref=MODEL, depends_on=uses), *others),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _model(subject: Subject) -> Component:
    """The machine-learning model; of several files each is a component of its own, with its digest."""
    metadata, only = subject.metadata, subject.model_files
    info = metadata.model_info
    return Component(
        type="machine-learning-model",
        bom_ref=MODEL,
        name=info.model_name,
        version=str(info.version),
        description=f"{_words(info.task_type)} model from {info.framework}, exported to {info.export_format}",
        hashes=_sha256(only[0].sha256) if len(only) == 1 else (),
        model_card=_card(metadata),
        components=tuple(
            Component(type="file", bom_ref=f"file:{file.path}", name=file.path, hashes=_sha256(file.sha256))
            for file in only
        ),
        properties=_properties({"modelport:licence": UNKNOWN_LICENCE, "modelport:model_file": metadata.model_file}),
    )


def _card(metadata: ModelMetadata) -> ModelCard:
    info = metadata.model_info
    told = {
        "modelport:precision": str(metadata.precision),
        "modelport:classes": str(len(metadata.classes)),
        "modelport:route": " → ".join(metadata.provenance.route),
        "modelport:rewrites": ", ".join(metadata.provenance.rewrites),
    }
    return ModelCard(
        model_parameters=Parameters(
            task=_words(info.task_type),
            architecture_family=str(info.framework),
            model_architecture=info.model_name,
            inputs=(_tensor(metadata.input_spec),),
            outputs=tuple(_tensor(spec) for spec in metadata.output_spec.values()),
        ),
        quantitative_analysis=Analysis(performance_metrics=tuple(_metrics(metadata))),
        considerations=Considerations(technical_limitations=(metadata.portability,)) if metadata.portability else None,
        properties=_properties({name: value for name, value in told.items() if value}),
    )


def _metrics(metadata: ModelMetadata) -> Iterable[Metric]:
    """What the job measured: against the source model, never against labels."""
    parity, speed = metadata.parity, metadata.performance
    yield Metric(type="parity: proof", value=str(parity.proof))
    yield Metric(
        type="parity: predictions matched", value=f"{parity.predictions_matched} of {parity.predictions_source}"
    )
    for output in parity.outputs:
        yield Metric(type="parity: largest difference to the source", value=f"{output.max_abs:.6g}", slice=output.name)
    if speed is not None:
        where = f"{speed.runtime} on {speed.hardware}"
        yield Metric(type="latency of one batch in ms", value=f"{speed.inference_latency_ms:.3f}", slice=where)


def _checkpoint(metadata: ModelMetadata) -> Component:
    return Component(
        type="data",
        bom_ref=CHECKPOINT,
        name="source checkpoint",
        description="The weights that the model was exported from; they are not in the package.",
        scope="excluded",
        hashes=_sha256(metadata.provenance.checkpoint_sha256),
        properties=_properties({"modelport:licence": "unknown"}),
    )


def _wrappers(builder: Mapping[str, str]) -> Component:
    return Component(
        type="library",
        bom_ref=WRAPPERS,
        name="modelport runtimes",
        version=builder.get("modelport-packager", ""),
        description="The wrappers below runtimes/.",
        licenses=_licences("Apache-2.0"),
    )


def _tool(name: str, release: str) -> Component:
    """A part of the toolchain: it made the model and is not in the package."""
    return msgspec.structs.replace(_library("toolchain", name, release), scope="excluded")


def _requirements(text: str) -> Iterable[Component]:
    """What `requirements.txt` asks for, as it stands there."""
    for line in text.splitlines():
        if found := _REQUIREMENT.match(line):
            yield _library("runtime", found[1], found[2] or "")


def _library(part: str, name: str, release: str) -> Component:
    licence = LICENCES.get(name, "")
    return Component(
        type="library",
        bom_ref=f"{part}:{name}",
        name=name,
        version=release,
        licenses=_licences(licence),
        purl=f"pkg:pypi/{quote(name.lower())}@{quote(release)}" if _RELEASE.fullmatch(release) else "",
        properties=_properties({"modelport:part": part} | ({} if licence else {"modelport:licence": "unknown"})),
    )


def _licences(identifier: str) -> tuple[LicenseChoice, ...]:
    return (LicenseChoice(license=License(id=identifier)),) if identifier else ()


def _tensor(spec: TensorSpec) -> Format:
    shape = ", ".join("any" if side < 0 else str(side) for side in spec.shape)
    return Format(format=f"{spec.name}: [{shape}] {spec.dtype}, {spec.format}")


def _sha256(digest: str) -> tuple[Hash, ...]:
    return (Hash(alg="SHA-256", content=digest),)


def _properties(pairs: Mapping[str, str]) -> tuple[Property, ...]:
    return tuple(Property(name=name, value=value) for name, value in pairs.items())


def _words(value: object) -> str:
    return str(value).replace("_", " ")


def files_below(digests: Sequence[FileDigest], model_file: str) -> tuple[FileDigest, ...]:
    """The model's own files: the one that its reader opens, what lies below it, and what belongs beside it."""
    stem = model_file.partition(".")[0] + "."
    return tuple(file for file in digests if file.path.partition("/")[0].startswith(stem))
