"""What a preflight says of a checkpoint before anybody waits: for every format whether it will work, how, and if not, why."""

from typing import Annotated

from msgspec import Meta, Struct

from contracts.model_package import Name, Text
from contracts.vocabulary import ExportFormat, Precision, Proof


class Forecast(Struct, frozen=True, kw_only=True):
    """One format of one checkpoint with one set of options.

    route          the forms on the way, from "torch" to the format; empty where there is none
    proof          what the job will be able to say of the artefact, on the workers that are alive or else at best
    rewrites       named changes of the graph that the target needs, see docs/formats.md
    code           an error's code of contracts.errors where `supported` is false
    operator       the operator or module at fault
    expected_*     bytes of the artefact at the asked precision; seconds from request to package as past jobs took, None without any;
                   memory of the conversion in bytes
    """

    format: ExportFormat
    supported: bool
    route: tuple[Name, ...] = ()
    proof: Proof | None = None
    precision: Precision | None = None
    precisions: tuple[Precision, ...] = ()
    rewrites: tuple[Name, ...] = ()
    code: Name = ""
    reason: Text = ""
    hint: Text = ""
    operator: Name = ""
    expected_size_bytes: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    expected_seconds: float | None = None
    expected_memory_bytes: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    available: bool = True
    """Whether a worker that is alive makes this format now; `waits_for` says what is missing."""
    waits_for: Text = ""
