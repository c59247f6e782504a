"""From a request to the ordered list of steps that carries it out: pure, no toolchain, no files."""

from msgspec import Struct

from contracts.capabilities import require_supported
from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from contracts.vocabulary import ExportStage
from export_worker import registry


class Step(Struct, frozen=True):
    """One thing to do: `entry` is "module:function", `label` is what a person reads meanwhile."""

    stage: ExportStage
    entry: str
    label: str


def plan(request: ExportRequestedV1) -> list[Step]:
    """load -> convert (one step per hop of the route) -> verify.

    Raises Permanent("unsupported") for what no step here can do, before anything is loaded.
    """
    require_supported(request.framework, request.task_type, request.options, request.optimization, request.validation)
    route = registry.route(request.export_format)
    if not route or request.export_format not in registry.RUNTIMES:
        raise Permanent("unsupported", f"export_format: nothing on this worker makes {request.export_format} models.")
    return [
        Step(ExportStage.LOAD, registry.LOADERS[request.framework], f"Loading the {request.framework} checkpoint"),
        *(Step(ExportStage.CONVERT, hop.entry, f"Converting to {hop.form}") for hop in route),
        Step(ExportStage.VERIFY, registry.VERIFIER, f"Comparing the {request.export_format} model with its source"),
    ]
