"""The package for one kind of device: the model, its wrappers in the device's languages, and sample apps."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import msgspec

from contracts import keys, labels
from contracts.deployment import EdgePackageConfig
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata
from contracts.vocabulary import TargetPlatform, WrapperLanguage
from contracts.wrappers import LANGUAGES, PLATFORM_LANGUAGES
from packager import archive, metadata, provenance, readme
from packager.provenance.signing import Signer
from packager.readme import markdown

NAME = "edge-package.zip"
RUNTIMES = "runtimes/"
SAMPLES = "sample_code"
SHARED_SAMPLES: dict[TargetPlatform, tuple[str, ...]] = dict.fromkeys(
    (TargetPlatform.RASPBERRY_PI, TargetPlatform.JETSON, TargetPlatform.LINUX), ("camera",)
)
"""Samples that several devices have in common, beside the device's own."""
MADE_ANEW = ("README.md", "provenance/")
"""What an export package says of itself."""

DEVICES: dict[TargetPlatform, str] = {
    TargetPlatform.IOS: "iOS",
    TargetPlatform.ANDROID: "Android",
    TargetPlatform.RASPBERRY_PI: "Raspberry Pi",
    TargetPlatform.JETSON: "NVIDIA Jetson",
    TargetPlatform.LINUX: "Linux",
}


def build(
    model: ModelMetadata,
    members: Mapping[str, Path],
    config: EdgePackageConfig,
    folder: Path,
    *,
    signer: Signer | None = None,
) -> Path:
    """Write the package for one kind of device below `folder`; where its zip lies.

    `members` are the files of the export package by their path in it. Raises Permanent `packaging_failed` for an export package
    that lacks the model or its wrappers.
    """
    platform = config.target_platform
    kept = {name: path for name, path in members.items() if _is_kept(name, platform)}
    if not any(name == model.model_file or name.startswith(f"{model.model_file}/") for name in kept):
        raise Permanent("packaging_failed", f"the export has no {model.model_file}", hint="Export the model again.")
    texts = sample_files(platform) if config.includes_sample_code else {}
    made = provenance.named(_with_languages(model, platform), signer)
    _require_native(made, platform)
    texts |= {"README.md": _readme(made, config, has_samples=bool(texts)).encode()}
    if keys.LABELS not in kept:
        texts |= {keys.LABELS: labels.as_text({one.id: one.name for one in model.classes}).encode()}
    kept |= archive.written(folder / "edge", texts)
    described = metadata.complete(made, made.runtime_wrappers, kept)
    kept |= archive.written(folder / "edge", {keys.METADATA: metadata.encode(described)})
    asked = msgspec.to_builtins(config)
    kind = provenance.EDGE_PACKAGE
    sealed = provenance.seal(kept, described, folder / "edge", signer, kind=kind, configuration=asked)
    target = folder / NAME
    archive.write(target, sealed)
    return target


def sample_files(platform: TargetPlatform) -> dict[str, bytes]:
    """The sample apps of a device, verbatim, by their path in the package; empty where there are none."""
    found: dict[str, bytes] = {}
    for folder in (str(platform), *SHARED_SAMPLES.get(platform, ())):
        root = files("packager") / "samples" / folder
        if root.is_dir():
            found |= {f"{SAMPLES}/{folder}/{path}": data for path, data in _tree(root)}
    return found


def _is_kept(name: str, platform: TargetPlatform) -> bool:
    if name.startswith(MADE_ANEW):
        return False
    language, inside, _ = name.removeprefix(RUNTIMES).partition("/")
    return not (name.startswith(RUNTIMES) and inside) or language in PLATFORM_LANGUAGES[platform]


def _with_languages(model: ModelMetadata, platform: TargetPlatform) -> ModelMetadata:
    """What is said of wrappers, of those alone that the device can use."""
    wanted = PLATFORM_LANGUAGES[platform]
    first = {name: path for name, path in model.runtime_wrappers.items() if name in wanted}
    proofs = {name: status for name, status in model.wrapper_proofs.items() if name in wanted}
    return msgspec.structs.replace(model, runtime_wrappers=first, wrapper_proofs=proofs)


def _require_native(model: ModelMetadata, platform: TargetPlatform) -> None:
    """Whether the export brings a wrapper in the device's own language."""
    runs = LANGUAGES[model.model_info.export_format]
    native = next(language for language in PLATFORM_LANGUAGES[platform] if language in runs)
    if native not in model.runtime_wrappers:
        sentence = f"the export brings no {_TITLES[native]} wrapper, which {DEVICES[platform]} needs"
        raise Permanent(
            "packaging_failed", sentence, hint="Export the model again: packages of this release bring one."
        )


def _readme(model: ModelMetadata, config: EdgePackageConfig, *, has_samples: bool) -> str:
    info, platform = model.model_info, config.target_platform
    return Template(_template("README.md")).substitute(
        name=markdown.escape(info.model_name),
        version=info.version,
        device=DEVICES[platform],
        framework=info.framework,
        task=str(info.task_type).replace("_", " "),
        export_format=info.export_format,
        proof=model.parity.proof,
        proof_meaning=readme.PROOFS[model.parity.proof],
        needs=readme.NEEDS.get(info.export_format, ""),
        start=_START.format(f"{SAMPLES}/{platform}") if has_samples else "",
        wrappers="\n".join(_wrappers(model, platform)),
        result=readme.result(model),
        model_file=model.model_file,
        signature=readme.signature(model),
        samples=f"| `{SAMPLES}` | a sample app |\n" if has_samples else "",
    )


def _wrappers(model: ModelMetadata, platform: TargetPlatform) -> Iterator[str]:
    """A line for each wrapper, the device's own first, with what was proved about it."""
    runs = LANGUAGES[model.model_info.export_format]
    for language in PLATFORM_LANGUAGES[platform]:
        if language in runs and language in model.runtime_wrappers:
            yield f"- {_TITLES[language]}: `{model.runtime_wrappers[language]}`{_proof(model, language)}"


def _proof(model: ModelMetadata, language: WrapperLanguage) -> str:
    status = model.wrapper_proofs.get(language)
    return f", {status.proof}: {markdown.escape(status.detail)}" if status else ""


_START = "## Start with the sample app\n\n`{0}/README.md` says how to build and run it.\n\n"
_TITLES: dict[WrapperLanguage, str] = {
    WrapperLanguage.PYTHON: "Python",
    WrapperLanguage.CPP: "C++",
    WrapperLanguage.SWIFT: "Swift",
    WrapperLanguage.KOTLIN: "Kotlin",
}


def _template(name: str) -> str:
    return (files("packager") / "templates" / "edge" / name).read_text(encoding="utf-8")


def _tree(root: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in sorted(root.iterdir(), key=lambda item: item.name):
        if entry.name in ("__pycache__", "build", ".gradle"):
            continue
        if entry.is_dir():
            yield from _tree(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()
