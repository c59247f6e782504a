"""`modelport users`: users and their tokens."""

from typing import Annotated

import typer

from contracts.vocabulary import Scope, Tier
from modelport.cli import views
from modelport.cli.session import AsJson, Limit, Session


def build_app() -> typer.Typer:
    app = typer.Typer(help="Users and their tokens (admin scope).", no_args_is_help=True, rich_markup_mode=None)
    app.command("create")(create)
    app.command("list")(list_users)
    app.command("me")(me)
    app.command("token")(token)
    return app


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument()],
    tier: Annotated[Tier, typer.Option("--tier")] = Tier.FREE,
    as_json: AsJson = False,
) -> None:
    """A new user with a first token, shown once."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.users.create(name, tier), views.new_user)


def list_users(ctx: typer.Context, limit: Limit = 100, as_json: AsJson = False) -> None:
    """All users."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(tuple(client.users.list(limit)), views.users)


def me(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Whose token this is."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.users.me(), lambda user: views.users([user]))


def token(
    ctx: typer.Context,
    user_id: Annotated[str, typer.Argument()],
    scope: Annotated[list[Scope] | None, typer.Option("--scope", help="Repeatable; read and write by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """One more token for a user, shown once."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.users.create_token(user_id, scope or [Scope.READ, Scope.WRITE]), views.token)
