"""What every command needs: the clients, the output that was asked for, and typed values from the command line."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.console import Console, RenderableType

from modelport import config
from modelport.cli.safe import Shown
from modelport.client import Client
from modelport.inference import Endpoint

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many lines, newest first.")]

UNBOUNDED = 10_000
"""Columns of an output that is no terminal: nothing is cut or wrapped for a program that reads it."""


class Session:
    """One run of the command."""

    def __init__(self, ctx: typer.Context, as_json: bool) -> None:
        self.config: config.Config = ctx.find_root().obj or config.load({}, os.environ)
        self.as_json = as_json
        self.out = Console(width=None if sys.stdout.isatty() else UNBOUNDED, highlight=False, markup=False)
        self.err = Console(stderr=True, highlight=False, markup=False)

    def client(self) -> Client:
        return Client(self.config.require("url"), self.config.require("token"), self.config.proxy_url or None)

    def endpoint(self, deployment_id: str, api_key: str | None) -> Endpoint:
        key = api_key or self.config.require("api_key")
        return Endpoint(self.config.require("proxy_url"), deployment_id, key)

    def show(self, answer: T, view: Callable[[T], RenderableType]) -> None:
        """The answer on stdout: JSON where asked for, else made readable by `view`."""
        if self.as_json:
            self.out.file.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")
        else:
            self.out.print(Shown(view(answer)))

    def note(self, line: str) -> None:
        """Something on the way; stderr, so that stdout holds the answer alone."""
        self.err.print(Shown(line))


def parse_settings(pairs: Sequence[str], option: str) -> dict[str, object] | None:
    """`a=1 b.c=x d=[0,2]` -> {"a": 1, "b": {"c": "x"}, "d": [0, 2]}: JSON values, else text; None where nothing is given."""
    settings: dict[str, object] = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path:
            raise typer.BadParameter(f"{option} {pair}: write it as key=value")
        _put(settings, path.split("."), _value(text), f"{option} {pair}")
    return settings or None


def _put(into: dict[str, object], path: list[str], value: object, where: str) -> None:
    for name in path[:-1]:
        inner = into.setdefault(name, {})
        if not isinstance(inner, dict):
            raise typer.BadParameter(f"{where}: {name} has a value already")
        into = inner
    into[path[-1]] = value


def _value(text: str) -> object:
    try:
        decoded: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return decoded
