"""The `modelport` command: its options, its commands, its exit codes.

0 done; 1 the job failed or the server said no; 2 the command line is wrong, or `diff` cannot read what to compare; 3 the server cannot be reached;
4 nothing is wrong, but not everything could be checked (`verify`).
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from modelport import config
from modelport.cli import dead_letters, deployments, diff, exports, packages, reports, training, users
from modelport.cli.safe import Shown
from modelport.errors import ApiError, ClientError, UnreachableError
from modelport.packages.errors import IncomparableError

OK, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3

Url = Annotated[str | None, typer.Option("--url", help="Address of the gateway [env: MODELPORT_URL].")]
Token = Annotated[str | None, typer.Option("--token", help="Your token, mp_… [env: MODELPORT_TOKEN].")]
ProxyUrl = Annotated[str | None, typer.Option("--proxy-url", help="Address for inference [env: MODELPORT_PROXY_URL].")]


def build_app() -> typer.Typer:
    """All commands; nothing is read from the environment before one of them runs."""
    app = typer.Typer(
        name="modelport",
        help="Export a trained vision model, prove it equal to its source, deploy it and call it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for part in (exports, reports, deployments, packages, diff):
        part.add_commands(app)
    app.add_typer(training.build_app(), name="train")
    app.add_typer(users.build_app(), name="users")
    app.add_typer(dead_letters.build_app(), name="dead-letters")
    return app


def _root(ctx: typer.Context, url: Url = None, token: Token = None, proxy_url: ProxyUrl = None) -> None:
    ctx.obj = config.load({"url": url, "token": token, "proxy_url": proxy_url}, os.environ)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit code."""
    try:
        build_app()(arguments, prog_name="modelport")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else OK
    except ClientError as error:
        _explain(error)
        return _exit_code(error)
    return OK


def _exit_code(error: ClientError) -> int:
    if isinstance(error, UnreachableError):
        return UNREACHABLE
    return USAGE if isinstance(error, config.ConfigError | IncomparableError) else REFUSED


def _explain(error: ClientError) -> None:
    """One sentence, the fields where there are several, and what to do."""
    err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    code = f" [{error.code}]" if isinstance(error, ApiError) else ""
    err.print(Shown(f"Error: {error.message}{code}"))
    if isinstance(error, ApiError) and len(error.fields) > 1:
        for field in error.fields:
            err.print(Shown(f"  {field.field}: {field.message}"))
    if error.hint:
        err.print(Shown(f"Hint: {error.hint}"))


if __name__ == "__main__":
    sys.exit(main())
