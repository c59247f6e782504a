"""The inputs of one operator of an ML program, typed by whoever reads them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from contracts.errors import Permanent

Value = Any
"""What an operator is given: a tensor, a text such as a padding's name, or a list of tensors."""


class Arguments:
    """`given` names every input that the program states; what it leaves out has the default of MIL's definition."""

    def __init__(self, operator: str, given: Mapping[str, Value]) -> None:
        self.operator, self._given = operator, given

    def tensor(self, name: str) -> Any:
        value = self._given.get(name)
        if not isinstance(value, torch.Tensor):
            raise lacking(self.operator, f"without a tensor called {name}")
        return value

    def maybe(self, name: str) -> Any:
        """None where the program does not state it."""
        return self._given.get(name)

    def tensors(self, name: str) -> list[Any]:
        value = self._given[name]
        return value if isinstance(value, list) else [value]

    def ints(self, name: str, default: list[int] | None = None) -> list[int]:
        value = self._given.get(name)
        if value is None:
            return list(default or [])
        return [int(one) for one in torch.as_tensor(value).reshape(-1).tolist()]

    def integer(self, name: str, default: int = 0) -> int:
        return self.ints(name, [default])[0]

    def number(self, name: str, default: float = 0.0) -> float:
        value = self._given.get(name)
        return default if value is None else float(torch.as_tensor(value).reshape(-1)[0])

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._given.get(name)
        return default if value is None else bool(torch.as_tensor(value).reshape(-1)[0])

    def text(self, name: str, default: str) -> str:
        value = self._given.get(name)
        return default if value is None else str(value)


Operator = Callable[[Arguments], Any]
"""One tensor, or a list of them where the operator has several outputs."""


def lacking(operator: str, what: str = "") -> Permanent:
    """The error of an operator, or a form of one, that the evaluator cannot run."""
    form = f"{operator} {what}".strip()
    return Permanent(
        "unsupported_operator",
        f"The reference evaluator of Core ML programs lacks the operator {form}, so nothing here can check this model.",
    )
