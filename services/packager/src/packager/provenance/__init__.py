"""Where a package comes from, inside the package: a bill of materials, a statement of its making, a signature over all of it.

The order: every other file is final, metadata.json lists the digests of all but itself; then the bill of materials; then the
statement, whose subjects are all files but itself; last the signature, which covers all files but itself. `named` comes before all of it.
"""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from msgspec import structs

from contracts import keys
from contracts.model_package import FileDigest, ModelMetadata
from packager import archive
from packager.metadata import digest
from packager.provenance import sbom, statement
from packager.provenance.signing import Signer
from packager.wrappers import PYTHON

EXPORT_PACKAGE, EDGE_PACKAGE, CONTAINER = "export-package", "edge-package", "container"
MADE_HERE = frozenset({keys.SBOM, keys.STATEMENT, keys.SIGNATURE})


def named(metadata: ModelMetadata, signer: Signer | None) -> ModelMetadata:
    """The metadata with the key that will sign; to be asked for before anything is written of it."""
    key_id = signer.key_id if signer else ""
    return structs.replace(metadata, provenance=structs.replace(metadata.provenance, signing_key_id=key_id))


def seal(
    members: Mapping[str, Path],
    metadata: ModelMetadata,
    folder: Path,
    signer: Signer | None,
    *,
    kind: str = EXPORT_PACKAGE,
    configuration: Mapping[str, object] | None = None,
) -> dict[str, Path]:
    """All files of the package: those given, which are final, and the provenance, written below `folder`.

    Without a signer there is no signature; metadata.json and README say so by then. Provenance that `members` brings
    along, of the package that this one is made from, is left out. `configuration` is what was asked for beside the export.
    """
    given = {name: path for name, path in members.items() if name not in MADE_HERE}
    files = {name: digest(name, path) for name, path in sorted(given.items())}
    builder = builders()
    made = {keys.SBOM: sbom.render(_subject(given, files, metadata, builder))}
    written = given | _write(folder, made, files)
    build = statement.Build(kind=kind, configuration=configuration or {}, builder=builder)
    made = {keys.STATEMENT: statement.render(metadata, _sorted(files), build)}
    written |= _write(folder, made, files)
    if signer is None:
        return written
    made = {keys.SIGNATURE: signer.sign(kind, {name: file.sha256 for name, file in files.items()})}
    return written | _write(folder, made, files)


def builders() -> dict[str, str]:
    """The programs that make packages, and their releases."""
    ours = {name: version(name) for name in ("modelport-packager", "modelport-processing", "modelport-contracts")}
    return ours | {"python": platform.python_version()}


def _subject(
    members: Mapping[str, Path], files: Mapping[str, FileDigest], metadata: ModelMetadata, builder: Mapping[str, str]
) -> sbom.Subject:
    requirements = members.get(f"{PYTHON}/requirements.txt")
    return sbom.Subject(
        metadata=metadata,
        model_files=sbom.files_below(_sorted(files), metadata.model_file),
        requirements=requirements.read_text(encoding="utf-8") if requirements else "",
        builder=builder,
    )


def _sorted(files: Mapping[str, FileDigest]) -> tuple[FileDigest, ...]:
    return tuple(files[name] for name in sorted(files))


def _write(folder: Path, texts: Mapping[str, bytes], files: dict[str, FileDigest]) -> dict[str, Path]:
    """The files written, and their digests noted in `files`."""
    paths = archive.written(folder, texts)
    files |= {name: digest(name, path) for name, path in paths.items()}
    return paths
