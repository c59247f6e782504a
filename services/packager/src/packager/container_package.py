"""container-package.zip: a folder that builds an image in which Triton serves the model."""

import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

import msgspec
from msgspec.structs import replace

from contracts import keys, model_config
from contracts.deployment import ContainerConfig, PlatformEndpointConfig
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata
from contracts.vocabulary import WrapperLanguage
from packager import archive, metadata, provenance, readme, sample_request, wrappers
from packager.provenance.signing import Signer
from packager.readme import markdown
from packager.sample_request import SampleRequest

NAME = "container-package.zip"
MODEL = "model"
"""The model's name in the image: `/v2/models/model/infer`."""
VERSION = 1
GOLDENS_BYTES = 64 << 20
COPIED = ("NOTICE.txt", keys.LABELS, keys.GOLDENS)
TEMPLATES = {
    "Dockerfile": "Dockerfile",
    ".dockerignore": "dockerignore",
    "build.sh": "build.sh",
    "README.md": "README.md",
}
"""Files made for each model, and what they are made of."""
CLIENT = f"{wrappers.PYTHON}/client.py"
_SLUG_CHARS = 64


def build(
    model: ModelMetadata,
    members: Mapping[str, Path],
    config: ContainerConfig,
    folder: Path,
    *,
    base_image: str,
    signer: Signer | None = None,
) -> Path:
    """Write the package of one container below `folder`; where its zip lies.

    `members` are the files of the export package by their path in it; `base_image` serves where the request names none. Raises
    Permanent `unsupported` for what Triton cannot serve, `packaging_failed` for an export package that lacks what is needed.
    """
    served = model_config.build(
        MODEL,
        model,
        PlatformEndpointConfig(),
        export_format=model.model_info.export_format,
        version=VERSION,
        kind="KIND_AUTO",
    )
    request = sample_request.build(model, _goldens(members))
    base = config.base_image or base_image
    made = provenance.named(_in_python(model), signer)
    texts = _texts(made, request, image_reference(model, config), base)
    texts |= {"config.pbtxt": served.to_pbtxt().encode(), request.file: request.body}
    kept = _kept(model, members) | archive.written(folder / "container", texts)
    described = metadata.complete(made, wrappers.entry_points(kept), kept)
    kept |= archive.written(folder / "container", {keys.METADATA: metadata.encode(described)})
    asked = msgspec.to_builtins(config) | {"base_image": base}
    kind = provenance.CONTAINER
    sealed = provenance.seal(kept, described, folder / "container", signer, kind=kind, configuration=asked)
    target = folder / NAME
    archive.write(target, sealed)
    return target


def image_reference(model: ModelMetadata, config: ContainerConfig) -> str:
    """`registry/name:tag`; the name is the model's own, as far as names of images go, where the request gives none."""
    words = re.findall("[a-z0-9]+", model.model_info.model_name.lower())
    name = config.image_name or "-".join(words)[:_SLUG_CHARS].rstrip("-") or MODEL
    return "/".join(part for part in (config.registry, name) if part) + f":{config.image_tag}"


def _goldens(members: Mapping[str, Path]) -> bytes:
    path = members.get(keys.GOLDENS)
    if path is None:
        raise Permanent("packaging_failed", "the export has no golden vectors, of which a sample request is made")
    if (size := path.stat().st_size) > GOLDENS_BYTES:
        raise Permanent("packaging_failed", f"the golden vectors have {size} bytes, {GOLDENS_BYTES} are allowed")
    return path.read_bytes()


def _kept(model: ModelMetadata, members: Mapping[str, Path]) -> dict[str, Path]:
    """The files of the export package that go along unchanged."""
    if model.model_file not in members:
        raise Permanent("packaging_failed", f"the export has no {model.model_file}")
    names = (model.model_file, *COPIED, *(name for name in members if name.startswith(f"{wrappers.PYTHON}/")))
    return {name: members[name] for name in names if name in members}


def _in_python(model: ModelMetadata) -> ModelMetadata:
    """What is said of languages that this package does not bring is left out."""
    proofs = {name: status for name, status in model.wrapper_proofs.items() if name is WrapperLanguage.PYTHON}
    return replace(model, wrapper_proofs=proofs)


def _texts(model: ModelMetadata, request: SampleRequest, image: str, base_image: str) -> dict[str, bytes]:
    """The files made for this model; whatever a user named is escaped for the language of the file that it stands in."""
    given = _given(model, request, image, base_image)
    made = {name: Template(_source(source)).substitute(given) for name, source in TEMPLATES.items()}
    return {name: text.encode() for name, text in made.items()} | {CLIENT: _source("client.py").encode()}


def _given(model: ModelMetadata, request: SampleRequest, image: str, base_image: str) -> dict[str, object]:
    first = min(request.beginnings)
    return {
        "name": markdown.escape(model.model_info.model_name),
        "version": model.model_info.version,
        "image": image,
        "quoted_image": shlex.quote(image),
        "base_image": base_image,
        "model_file": model.model_file,
        "body_file": request.file,
        "body_size": _megabytes(len(request.body)),
        "binary_size": _megabytes(request.binary_bytes),
        "tensor": request.tensor,
        "curl": _curl(request),
        "outputs": f"{len(request.shapes)} output" + "s" * (len(request.shapes) > 1),
        "first_output": markdown.escape(first),
        "answer": _beginning(first, model, request),
        "meaning": readme.result(model),
        "signature": readme.signature(model),
        "batching": _batching(model),
    }


def _curl(request: SampleRequest) -> str:
    kind = "application/octet-stream" if request.json_bytes else "application/json"
    headers = [f"-H 'Content-Type: {kind}'"]
    if request.json_bytes:
        headers.append(f"-H 'Inference-Header-Content-Length: {request.json_bytes}'")
    parts = [f"curl -sS http://localhost:8000/v2/models/{MODEL}/infer", *headers, f"--data-binary @{request.file}"]
    return " \\\n  ".join([*parts, "-o answer.json"])


def _beginning(name: str, model: ModelMetadata, request: SampleRequest) -> str:
    """The first numbers of an output as JSON shows them; the name is quoted, and closes no block of Markdown."""
    datatype = next(spec.dtype for spec in model.output_spec.values() if spec.name == name)
    told = {"name": name, "datatype": model_config.DATA_TYPES[datatype].removeprefix("TYPE_")}
    start = msgspec.json.encode({**told, "shape": request.shapes[name]}).decode().removesuffix("}")
    numbers = ",".join(f"{value:.6g}" for value in request.beginnings[name])
    return f'{start},"data":[{numbers},'.replace("`", "\\u0060")


def _batching(model: ModelMetadata) -> str:
    if model_config.has_dynamic_batch(model):
        most = PlatformEndpointConfig().max_batch_size
        return f"Requests that arrive together are run together, up to {most} pictures; `max_batch_size` in `config.pbtxt` says so."
    batch = model.input_spec.shape[0]
    return f"The model was exported for exactly {batch} picture{'s' * (batch > 1)} a run; requests are run one after the other."


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _source(name: str) -> str:
    return (files("packager") / "templates" / "container" / name).read_text(encoding="utf-8")
