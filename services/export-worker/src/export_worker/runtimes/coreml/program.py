"""An ML program read back from its package and run operator by operator.

Arithmetic is float32 throughout; what the program stores as float16 is rounded to float16 between operators, so that an overflow or a
lost digit shows here as it would on a device. It checks the program and its weights, not Apple's runtime.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from contracts.errors import Permanent
from export_worker.frameworks.checkpoints import error_line
from export_worker.runtimes.coreml.arguments import Arguments, Operator, Value, lacking
from export_worker.runtimes.coreml.operators import OPERATORS
from export_worker.runtimes.coreml.toolchain import ct, read_program

WEIGHTS = "Data/com.apple.CoreML/weights"


class Result(NamedTuple):
    """One output of an operator: its name, its declared shape (None where open), and whether it is stored as float16."""

    name: str
    shape: tuple[int, ...] | None
    half: bool


class Step(NamedTuple):
    """One operator: constants it was given, names of the results it reads, and what it yields."""

    operator: str
    run: Operator
    constants: dict[str, Value]
    reads: dict[str, str | list[str]]
    results: tuple[Result, ...]


class Program:
    """The main function of a saved .mlpackage.

    Raises Permanent("unsupported_operator") for an operator that the evaluator lacks, Permanent("conversion_failed") for a package
    that cannot be read.
    """

    def __init__(self, package: Path) -> None:
        try:
            specification = ct.models.utils.load_spec(str(package))
            program = read_program(
                specification,
                specification_version=specification.specificationVersion,
                file_weights_dir=str(package / WEIGHTS),
            )
        except Exception as error:  # its readers raise whatever the first broken byte makes them raise
            raise Permanent("conversion_failed", f"the saved ML program cannot be read: {error_line(error)}") from error
        main = program.functions["main"]
        self.inputs = tuple(main.inputs)
        self.outputs = tuple(variable.name for variable in main.outputs)
        self._values: dict[str, Value] = {}
        self.steps: list[Step] = []
        for operation in main.operations:
            self._add(operation)

    def _add(self, operation: Any) -> None:
        kind = operation.op_type
        if kind == "const":
            self._values[operation.outputs[0].name] = constant(operation.outputs[0].val)
            return
        if kind not in OPERATORS:
            raise lacking(kind, f"({operation.name})")
        step = Step(kind, OPERATORS[kind], {}, {}, tuple(_result(variable) for variable in operation.outputs))
        for name, given in operation.inputs.items():
            if isinstance(given, (list, tuple)):
                step.reads[name] = [self._known(variable) for variable in given]
            elif given is not None:
                step.reads[name] = self._known(given)
        if kind.startswith("constexpr_"):
            self._values.update(zip((r.name for r in step.results), _run(step, self._values), strict=True))
        else:
            self.steps.append(step)

    def _known(self, variable: Any) -> str:
        """The variable's name; a constant that stands in the operator itself is filed under it."""
        if variable.op is not None and variable.op.op_type == "const" and variable.name not in self._values:
            self._values[variable.name] = constant(variable.val)
        return str(variable.name)

    def __call__(self, inputs: Mapping[str, torch.Tensor], also: Collection[str] = ()) -> dict[str, Any]:
        """Name -> tensor of every output and of the results called for by `also`.

        Raises Permanent("conversion_failed") where an operator cannot run on what it is given or yields another shape than the program declares.
        """
        values: dict[str, Value] = {**self._values, **inputs}
        kept = {*self.outputs, *also}
        last = {name: index for index, step in enumerate(self.steps) for name in names_read(step)}
        with torch.inference_mode():
            for index, step in enumerate(self.steps):
                made = _run(step, values)
                values.update({result.name: value for result, value in zip(step.results, made, strict=True)})
                for name in names_read(step):
                    if last[name] == index and name not in kept and name not in self._values:
                        values.pop(name, None)
        return {name: values[name] for name in kept if name in values}


def constant(value: Any) -> Value:
    """A constant as the operators take it: floats as float32, whole numbers as int32."""
    if isinstance(value, (str, np.str_)):
        return str(value)
    array = np.asarray(value)
    if array.dtype.kind in "US":
        return str(array.reshape(-1)[0])
    if array.dtype.kind == "b":
        return torch.from_numpy(array.copy())
    return torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int32))


def _result(variable: Any) -> Result:
    shape = variable.shape
    fixed = shape is not None and all(isinstance(size, (int, np.integer)) for size in shape)
    kind = getattr(variable.dtype, "__name__", "") if variable.dtype is not None else ""
    return Result(variable.name, tuple(int(size) for size in shape) if fixed else None, kind == "fp16")


def names_read(step: Step) -> list[str]:
    """Results and constants that the operator is given."""
    return [name for given in step.reads.values() for name in (given if isinstance(given, list) else [given])]


def _run(step: Step, values: Mapping[str, Value]) -> list[Any]:
    given: dict[str, Value] = {
        name: [values[one] for one in read] if isinstance(read, list) else values[read]
        for name, read in step.reads.items()
    }
    try:
        made = step.run(Arguments(step.operator, given))
    except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:
        reason = f"{step.operator} ({step.results[0].name}) cannot run: {error_line(error)}"
        raise Permanent("conversion_failed", f"the saved ML program: {reason}") from error
    listed = list(made) if isinstance(made, (list, tuple)) else [made]
    return [_stored(step, result, value) for result, value in zip(step.results, listed, strict=True)]


def _stored(step: Step, result: Result, value: Any) -> Any:
    if result.shape is not None and tuple(value.shape) != result.shape:
        raise Permanent(
            "conversion_failed",
            f"the saved ML program: {step.operator} ({result.name}) yields {list(value.shape)}, declared is {list(result.shape)}.",
        )
    return value.half().float() if result.half and value.is_floating_point() else value
