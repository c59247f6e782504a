"""`modelport dead-letters`: what no service could handle, and trying it again; for administrators."""

from typing import Annotated

import typer

from modelport.cli import views
from modelport.cli.session import AsJson, Limit, Session

Sequence = Annotated[int, typer.Argument(help="Number of the dead letter, as `list` shows it.", min=1)]


def build_app() -> typer.Typer:
    app = typer.Typer(help="What no service could handle (needs the admin scope).", no_args_is_help=True)
    app.command("list")(list_dead_letters)
    app.command("replay")(replay)
    return app


def list_dead_letters(ctx: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    """The newest dead letters with their reasons."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(tuple(client.dead_letters.list(limit)), views.dead_letters)


def replay(ctx: typer.Context, sequence: Sequence, as_json: AsJson = False) -> None:
    """Try one again: a failed export or deployment is requested once more, any other message is delivered again."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.dead_letters.replay(sequence), views.replayed)
