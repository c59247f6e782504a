"""The gate before a package is announced: each language's `verify` is run on the very files that are delivered.

What runs loads a stranger's model, so that it runs in a sandbox; what it says is believed only where it ends well and says as many
checks as the package has. A check that fails stops the package.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts import keys
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata, WrapperStatus
from contracts.vocabulary import ExportFormat, WrapperLanguage, WrapperProof
from contracts.wrappers import LANGUAGES
from packager import metadata, wrappers
from packager.proofs import diagnosis
from packager.proofs.diagnosis import Check
from packager.proofs.trial import Trial, expected_checks, lay_out
from packager.proofs.verifiers import WITHOUT_MODEL, Verifier, Verifiers
from packager.toolchains import swift
from servicekit.sandbox import command
from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bubblewrap import MIB, Limits, Sandbox
from servicekit.sandbox.command import Ended

L, P = WrapperLanguage, WrapperProof
NAMES: dict[WrapperLanguage, str] = {L.PYTHON: "Python", L.CPP: "C++", L.SWIFT: "Swift", L.KOTLIN: "Kotlin"}
RUNS_CODE = frozenset({ExportFormat.TORCHSCRIPT})
"""Formats whose models are programs; without a sandbox they are not run."""
NOWHERE: dict[ExportFormat, str] = {
    ExportFormat.COREML: "Core ML runs on Apple's systems alone",
    ExportFormat.TENSORRT: "an engine runs on the kind of GPU that it was built for, with its own release of TensorRT",
}
"""Why no environment of the packager runs a format."""
NOT_BUILT = "compiled by the tests of this release, not where this package was made: no built verifier was there"
UNBUILT: dict[tuple[WrapperLanguage, ExportFormat], str] = {
    (L.CPP, ExportFormat.TENSORRT): "compiled by this release's tests against a stub of TensorRT's headers",
}
"""What can be said of a compiled language whose program is not there."""
_SHOWN = 600


class Answer(Struct, frozen=True, kw_only=True):
    """What one verifier said of one package, and how it ended."""

    checks: tuple[Check, ...]
    ended: Ended

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


class Gate:
    """Runs verifiers in `box`, so many at a time; without a box none is run at all."""

    def __init__(
        self,
        box: Sandbox | Bare,
        pythons: Mapping[ExportFormat, Verifier],
        built: Verifiers,
        *,
        limits: Limits,
        takes_code: bool = True,
        takes_unverified: bool = True,
        at_a_time: int = 0,
    ) -> None:
        self._box = box
        self._pythons = pythons
        self._built = built
        self._limits = limits
        self._takes_code = takes_code
        self._takes_unverified = takes_unverified
        self._slots = asyncio.Semaphore(at_a_time or os.cpu_count() or 1)

    def languages(self, export_format: ExportFormat) -> str:
        """The languages that will be run on a package of the format, for people."""
        wanted = [name for name in LANGUAGES[export_format] if self._verifier(export_format, name)]
        return ", ".join(NAMES[name] for name in wanted)

    async def prove(
        self, model: ModelMetadata, members: Mapping[str, Path], folder: Path
    ) -> dict[WrapperLanguage, WrapperStatus]:
        """The status of each language that the package brings; the files are read only, those in `members` are those delivered.

        Raises Permanent `wrapper_disagrees` that names the first check that fails and its probable cause. A cancelled call leaves no
        process behind. Raises Permanent `packaging_failed` where an environment for the format is missing and that is not accepted.
        """
        self._require_environment(model.model_info.export_format)
        trial = await asyncio.to_thread(lay_out, folder / "trial", members, metadata.encode(model))
        wanted = [name for name in LANGUAGES[model.model_info.export_format] if name in model.runtime_wrappers]
        async with asyncio.TaskGroup() as group:
            running = {name: group.create_task(self._status(model, name, trial)) for name in wanted}
        statuses = {name: task.result() for name, task in running.items()}
        for status in statuses.values():
            if isinstance(status, Permanent):
                raise status
        return {name: status for name, status in statuses.items() if isinstance(status, WrapperStatus)}

    def _require_environment(self, export_format: ExportFormat) -> None:
        """A format that runs nowhere here is tried in any environment, without its model."""
        is_there = export_format in self._pythons or (export_format in NOWHERE and bool(self._pythons))
        if is_there or self._takes_unverified:
            return
        sentence = (
            f"{export_format} packages cannot be verified here: MODELPORT_RUNTIMES_DIR holds no environment for it"
        )
        hint = "`make setup` installs it; MODELPORT_UNVERIFIED_PACKAGES=accept delivers packages that nobody tried."
        raise Permanent("packaging_failed", sentence, hint=hint)

    async def _status(self, model: ModelMetadata, language: WrapperLanguage, trial: Trial) -> WrapperStatus | Permanent:
        """A refusal is handed back, so that a sibling that is at work can end."""
        export_format = model.model_info.export_format
        verifier = self._verifier(export_format, language)
        try:
            if verifier is None:
                return await asyncio.to_thread(unproven, language, export_format)
            reason = self._reason_not_to_run(verifier, export_format)
            answer = await self._run(verifier, trial, without_model=bool(reason))
            await self._require_passed(model, verifier, answer, trial, without_model=bool(reason))
        except Permanent as refused:
            return refused
        count = len(answer.checks)
        if reason:
            return WrapperStatus(
                proof=P.BUILT, detail=f"{count} checks of {verifier.made_with} passed without the model: {reason}"
            )
        return WrapperStatus(proof=P.VERIFIED, detail=f"all {count} checks passed: {verifier.made_with}")

    def _verifier(self, export_format: ExportFormat, language: WrapperLanguage) -> Verifier | None:
        if language is not L.PYTHON:
            return self._built.get((export_format, language))
        return self._pythons.get(export_format) or next(iter(self._pythons.values()), None)

    def _reason_not_to_run(self, verifier: Verifier, export_format: ExportFormat) -> str:
        """Why the model itself is not run; empty where it is."""
        if verifier.export_format is not export_format:
            return NOWHERE.get(export_format) or f"the packager has no environment for {export_format}"
        if verifier.why_no_model:
            return verifier.why_no_model
        if export_format in RUNS_CODE and not self._takes_code:
            return "its format runs code, and the packager has no sandbox"
        return ""

    async def _run(self, verifier: Verifier, trial: Trial, *, without_model: bool) -> Answer:
        options = (WITHOUT_MODEL,) if without_model else ()
        ended = await self._contained(
            verifier, verifier.call(trial.package, *options), trial.room(verifier.language), trial
        )
        return Answer(checks=_checks(ended.output), ended=ended)

    async def _contained(self, verifier: Verifier, call: Sequence[str], root: Path, trial: Trial, *more: Path) -> Ended:
        variables = dict(self._box.variables) | dict(verifier.variables)
        box = msgspec.structs.replace(self._box, variables=tuple(variables.items()))
        reads = (trial.package, *map(Path, verifier.reads), *more)
        async with self._slots:
            return await command.run(box, call, root=root, reads=reads, limits=self._limits)

    async def _require_passed(
        self, model: ModelMetadata, verifier: Verifier, answer: Answer, trial: Trial, *, without_model: bool
    ) -> None:
        name = NAMES[verifier.language]
        if answer.failed:
            first, count = answer.failed[0], len(answer.failed)
            cause = await self._cause(answer, trial)
            sentence = f"{name}'s verify fails in {count} of {len(answer.checks)} checks, first in {_told(first)}."
            raise Permanent("wrapper_disagrees", f"{sentence} Probable cause: {cause}")
        if answer.ended.broken:
            bound = f"{self._limits.memory_bytes // MIB} MiB, {self._limits.wall_s:.0f} s"
            sentence = f"{name}'s verify went over its limit of {answer.ended.broken} ({bound})."
            hint = "Use a smaller model, or raise the packager's MODELPORT_VERIFY_MEMORY_MIB or MODELPORT_VERIFY_TIMEOUT_S."
            raise Permanent("wrapper_disagrees", sentence, hint=hint)
        wanted = await asyncio.to_thread(
            expected_checks, model, trial.package / keys.GOLDENS, with_model=not without_model
        )
        if answer.ended.exit_code != 0 or len(answer.checks) != wanted:
            how = answer.ended.signal.name if answer.ended.signal else f"status {answer.ended.exit_code}"
            said = diagnosis.shown(answer.ended.errors.decode(errors="replace"))[-_SHOWN:]
            sentence = f"{name}'s verify ended with {how} after {len(answer.checks)} of {wanted} checks: {said}"
            raise Permanent("wrapper_disagrees", sentence)

    async def _cause(self, answer: Answer, trial: Trial) -> str:
        """By its name, found in the sandbox too: what is looked at is a stranger's."""
        python = next(iter(self._pythons.values()), None)
        if python is None:
            return diagnosis.UNKNOWN
        room = trial.room("diagnosis")
        question = diagnosis.ask(room / "question", python.command[0], trial.package, answer.failed)
        ended = await self._contained(python, question.call, room, trial, question.reads)
        return diagnosis.cause(ended.output)


def unproven(language: WrapperLanguage, export_format: ExportFormat) -> WrapperStatus:
    """What can be said where no verifier runs; Permanent `packaging_failed` for sources that their grammar refuses."""
    if language is L.PYTHON:
        for path, source in _of_suffix(wrappers.language_files(language), ".py").items():
            compile(source, path, "exec", dont_inherit=True)
        return WrapperStatus(
            proof=P.PARSED, detail=f"the packager has no environment that could run {export_format}, or any other"
        )
    if language is L.SWIFT:
        problems = swift.parse(_of_suffix(wrappers.language_files(language), ".swift"))
        if problems:
            raise Permanent("packaging_failed", f"the Swift wrapper does not parse: {problems[0]}")
        return WrapperStatus(
            proof=P.PARSED,
            detail="read by Swift's grammar; it was compiled neither where this package was made nor for this release",
        )
    return WrapperStatus(proof=P.PARSED, detail=UNBUILT.get((language, export_format), NOT_BUILT))


def _of_suffix(sources: Mapping[str, bytes], suffix: str) -> dict[str, bytes]:
    return {path: source for path, source in sources.items() if path.endswith(suffix)}


def _told(check: Check) -> str:
    return diagnosis.shown(f"{check.subject} '{check.name}': {check.detail}")[:_SHOWN]


def _checks(output: bytes) -> tuple[Check, ...]:
    """The lines that are checks; what else a library prints is none."""
    found = []
    for line in output.splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Check))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return tuple(found)
