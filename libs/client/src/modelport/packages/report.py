"""What was found out about a package: one line for each check."""

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """`skipped` by the user's choice; `not_run` for want of something, which the line names."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"
    SKIPPED = "skipped"


class Check(Struct, frozen=True, kw_only=True):
    name: str
    outcome: Outcome
    detail: str
    hint: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """`key_id` is the key that made the signature, empty for an unsigned package."""

    package: str
    model: str = ""
    export_format: str = ""
    key_id: str = ""
    checks: tuple[Check, ...]

    @property
    def has_failed(self) -> bool:
        return any(check.outcome is Outcome.FAILED for check in self.checks)

    @property
    def is_complete(self) -> bool:
        """Whether everything was checked that the user did not skip."""
        return all(check.outcome in (Outcome.PASSED, Outcome.SKIPPED) for check in self.checks)
