"""Operators of torch that coremltools lacks and that can be said in operators it has; and which of a graph's it lacks still."""


def register() -> None:
    pass
