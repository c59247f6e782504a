"""Checks a package without any network: who signed it, that every byte is what was signed, that it computes what it promises."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from contracts import keys, signatures
from contracts.model_package import ModelInfo
from contracts.signing_keys import PublicKey
from modelport.packages import goldens, sources, trust
from modelport.packages.errors import PackageError
from modelport.packages.report import Check, Outcome, Report
from modelport.packages.sources import Source

T = TypeVar("T")
JSON_BYTES = 64 << 20
UNSIGNED = (
    "Ask its maker to sign (MODELPORT_SIGNING_KEY_FILE of the packager), or check the rest with --allow-unsigned."
)
CACHES = "Python wrote __pycache__ when the package was used; remove these folders, or check the zip."
ADDED = "In an unpacked folder, what was built or put there since counts too: remove it, or check the zip."


class _Provenance(Struct):
    signing_key_id: str = ""


class _Metadata(Struct):
    """What is read of metadata.json; releases to come may add to the rest."""

    model_info: ModelInfo
    provenance: _Provenance


class _Subject(Struct):
    name: str
    digest: dict[str, str]


class _Statement(Struct):
    subject: tuple[_Subject, ...]


class Wish(Struct, frozen=True, kw_only=True):
    """How to check: `keys` are trusted; `python` runs the golden vectors, None: the user does not want it."""

    keys: Sequence[PublicKey]
    python: str | None
    allow_unsigned: bool = False
    environ: Mapping[str, str]


def verify(package: Path, wish: Wish) -> Report:
    """Check a zip or an unpacked folder; the first failure ends it, and what was not reached is named.

    Nothing of the package is executed before its signature and every digest were found right.
    """
    checks: list[Check] = []
    with ExitStack() as stack:
        run = _Run(package, wish, stack)
        for name, step in run.steps.items():
            if any(check.outcome is Outcome.FAILED for check in checks):
                checks.append(Check(name=name, outcome=Outcome.NOT_RUN, detail="because of the failure before"))
                continue
            try:
                checks.append(step())
            except PackageError as error:
                checks.append(Check(name=name, outcome=Outcome.FAILED, detail=error.message, hint=error.hint))
    return run.report(checks)


class _Run:
    """The steps, each of which needs what those before it found out."""

    def __init__(self, package: Path, wish: Wish, stack: ExitStack) -> None:
        self._package, self._wish, self._stack = package, wish, stack
        self._source: Source
        self._digests: dict[str, str] = {}
        self._key_id = ""
        self._metadata: _Metadata | None = None
        self.steps = {
            "archive": self._archive,
            "signature": self._signature,
            "files": self._files,
            goldens.NAME: self._goldens,
        }

    def report(self, checks: Sequence[Check]) -> Report:
        info = self._metadata.model_info if self._metadata else None
        return Report(
            package=str(self._package),
            model=info.model_name if info else "",
            export_format=str(info.export_format) if info else "",
            key_id=self._key_id,
            checks=tuple(checks),
        )

    def _archive(self) -> Check:
        self._source = self._stack.enter_context(sources.opened(self._package))
        is_folder = self._package.is_dir()
        told = "plain files alone" if is_folder else "every byte outside the files is as it has to be"
        return _passed("archive", f"{len(self._source.sizes)} files, {told}")

    def _signature(self) -> Check:
        """Also what the digests of the next step are: signed ones, or where that is allowed those of the statement."""
        if keys.SIGNATURE in self._source.sizes:
            data = sources.whole(self._source, keys.SIGNATURE, signatures.MAX_BYTES)
            key, self._digests = trust.signed_digests(data, self._wish.keys)
            self._key_id = key.key_id
            return _passed("signature", f"by the key {key.key_id} ({key.curve}), which you trust")
        if not self._wish.allow_unsigned:
            raise PackageError("The package is unsigned: nothing shows who made it.", UNSIGNED)
        statement = _decoded(self._source, keys.STATEMENT, _Statement)
        self._digests = {subject.name: subject.digest.get("sha256", "") for subject in statement.subject}
        self._digests[keys.STATEMENT] = _sha256(self._source, keys.STATEMENT)
        detail = "the package is unsigned, so its digests show damage and no forgery; --allow-unsigned was given"
        return Check(name="signature", outcome=Outcome.SKIPPED, detail=detail)

    def _files(self) -> Check:
        """Each file as it was signed, none more, none less; and metadata.json says of the signature what is true."""
        there = set(self._source.sizes) - {keys.SIGNATURE}
        if more := sorted(there - set(self._digests)):
            hint = CACHES if any("__pycache__" in name for name in more) else ADDED
            raise PackageError(f"Files that nobody signed: {_some(more)}.", hint)
        if missing := sorted(set(self._digests) - there):
            raise PackageError(f"Files are missing: {_some(missing)}.")
        for name in sorted(there):
            if _sha256(self._source, name) != self._digests[name]:
                raise PackageError(f"{name} is not the file that was signed.")
        self._metadata = _decoded(self._source, keys.METADATA, _Metadata)
        if self._metadata.provenance.signing_key_id != self._key_id:
            told = self._metadata.provenance.signing_key_id or "nobody"
            raise PackageError(
                f"metadata.json says that {told} signed the package: the signature was removed or replaced."
            )
        return _passed("files", f"{len(there)} files, {sum(self._source.sizes.values())} bytes, each as it was made")

    def _goldens(self) -> Check:
        if self._wish.python is None:
            return Check(name=goldens.NAME, outcome=Outcome.SKIPPED, detail="--no-run was given")
        return goldens.check(self._source, self._digests, self._wish.python, self._wish.environ)


def _sha256(source: Source, name: str) -> str:
    digest = hashlib.sha256()
    for piece in source.pieces(name):
        digest.update(piece)
    return digest.hexdigest()


def _decoded(source: Source, name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(sources.whole(source, name, JSON_BYTES), type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PackageError(f"{name} cannot be read: {error}.") from error


def _passed(name: str, detail: str) -> Check:
    return Check(name=name, outcome=Outcome.PASSED, detail=detail)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
