"""Counts of a Core ML program: operations of its functions, those of inner blocks included, read from the package's protobuf."""

import zipfile
from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

from contracts.model_package import GraphSummary
from export_worker.runtimes.coreml.toolchain import ct

PROGRAM = "model.mlpackage/Data/com.apple.CoreML/model.mlmodel"
CONSTANT, NAME = "const", "name"


def summarise(path: Path) -> GraphSummary:
    """Operators as `conv`; `path` is the stored zip."""
    model = ct.proto.Model_pb2.Model()
    with zipfile.ZipFile(path) as archive:
        model.ParseFromString(archive.read(PROGRAM))
    operators: Counter[str] = Counter()
    parameters = sum(
        _count(block.operations, operators)
        for function in model.mlProgram.functions.values()
        for block in function.block_specializations.values()
    )
    return GraphSummary(operators=dict(sorted(operators.items())), parameters=parameters)


def _count(operations: Iterable[Any], operators: Counter[str]) -> int:
    """Numbers in constants and in what compressed constants are made of."""
    parameters = 0
    for operation in operations:
        if operation.type != CONSTANT:
            operators[operation.type] += 1
        parameters += sum(_numbers(value) for name, value in operation.attributes.items() if name != NAME)
        parameters += sum(_count(block.operations, operators) for block in operation.blocks)
    return parameters


def _numbers(value: Any) -> int:
    if not value.type.HasField("tensorType"):
        return 0
    return prod(dimension.constant.size for dimension in value.type.tensorType.dimensions)
