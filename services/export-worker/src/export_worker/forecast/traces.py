"""Checks that look at a traced graph: whether it traces, and whether a converter has words for all of its operators."""

import copy
import warnings

import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import TorchScriptOptions
from contracts.vocabulary import ExportFormat
from export_worker.forecast.subject import Finding, Subject, Wish
from export_worker.formats.graph import Embedding
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Loaded
from export_worker.rewrites.table import rewrite


class LackingError(Permanent):
    """Raised with the operators that a target lacks."""

    def __init__(self, target: str, operators: list[str]) -> None:
        some = ", ".join(operators[:5]) + (f" and {len(operators) - 5} more" if len(operators) > 5 else "")
        super().__init__("unsupported_operator", f"{target} lacks {some}, which this model uses.")
        self.operator = operators[0]


def scripted(subject: Subject, wish: Wish) -> Finding:
    """Traced, or compiled where the options ask for that."""
    if isinstance(wish.options, TorchScriptOptions) and wish.options.method == "script":
        from export_worker.forecast.checks import converted

        return converted(subject, wish)
    embedding, example = _prepared(subject.loaded(wish.options), wish)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # half the cost of torch.jit.trace is the tree of modules that it builds around this
            torch.jit._get_trace_graph(embedding.graph, (example,), strict=False)
    except Exception as error:  # the tracer raises whatever the model raises
        raise Permanent("conversion_failed", f"torch.jit.trace: {error_line(error)}") from error
    return Finding()


def drafted(subject: Subject, wish: Wish) -> Finding:
    """Core ML's own front end over the traced, folded graph; what it lacks is told all at once."""
    from export_worker.formats import torch2coreml
    from export_worker.formats.coreml_operators import unsupported_ops

    work = subject.work(wish)
    loaded, options = work.need_loaded(), torch2coreml.asked(work)
    embedding, example = _prepared(loaded, structs.replace(wish, options=options))
    graph, rewrites = torch2coreml.rewritten(embedding)
    traced = torch2coreml.trace(graph, example, embedded=embedding.embedded)
    if lacking := unsupported_ops(traced.forward.graph):
        raise LackingError("Core ML's converter", lacking)
    torch2coreml.program(traced, example, embedding, options, wish.precision, draft=True)
    return Finding(rewrites)


def lowered(subject: Subject, wish: Wish) -> Finding:
    """The operators of the exported program against those that LiteRT's converter has words for."""
    from export_worker.formats.tflite_foresight import lacking

    module = copy.deepcopy(subject.loaded(wish.options).module)
    rewrites = rewrite(module, ExportFormat.TFLITE)
    embedding, example = _prepared(structs.replace(subject.loaded(wish.options), module=module), wish)
    if missing := lacking(embedding.graph, example):
        raise LackingError("LiteRT's converter", [f"{one.operator} in {one.module}" for one in missing])
    return Finding(rewrites)


def _prepared(loaded: Loaded, wish: Wish) -> tuple[Embedding, torch.Tensor]:
    """The graph that this wish converts, and an input of it."""
    embedding = Embedding(loaded, wish.options, wish.format)
    return embedding, embedding.example(loaded, wish.options.batch_size)
