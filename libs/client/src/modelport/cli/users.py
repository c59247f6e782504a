"""`modelport users`: users and their tokens."""

from typing import Annotated

import typer
from rich.text import Text

from contracts.vocabulary import Scope, Tier
from modelport.cli import views
from modelport.cli.session import AsJson, Limit, Session

UserId = Annotated[str, typer.Argument(help="Id of the user.")]


def build_app() -> typer.Typer:
    app = typer.Typer(help="Users and their tokens (admin scope).", no_args_is_help=True, rich_markup_mode=None)
    app.command("create")(create)
    app.command("list")(list_users)
    app.command("me")(me)
    app.command("token")(token)
    app.command("tokens")(tokens)
    app.command("revoke")(revoke)
    app.command("tier")(set_tier)
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
    user_id: UserId,
    scope: Annotated[list[Scope] | None, typer.Option("--scope", help="Repeatable; read and write by default.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="How long it works; for ever by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """One more token for a user, shown once."""
    session = Session(ctx, as_json)
    with session.client() as client:
        scopes, life = scope or [Scope.READ, Scope.WRITE], days and days * 86_400
        session.show(client.users.create_token(user_id, scopes, expires_in_s=life), views.token)


def tokens(ctx: typer.Context, user_id: UserId, as_json: AsJson = False) -> None:
    """All tokens of a user, without their secrets."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(tuple(client.users.tokens(user_id)), views.tokens)


def revoke(
    ctx: typer.Context, user_id: UserId, token_id: Annotated[str, typer.Argument()], as_json: AsJson = False
) -> None:
    """Stop a token at once."""
    session = Session(ctx, as_json)
    with session.client() as client:
        client.users.revoke_token(user_id, token_id)
    session.show({"revoked": token_id}, lambda _: Text(f"revoked {token_id}"))


def set_tier(
    ctx: typer.Context, user_id: UserId, tier: Annotated[Tier, typer.Argument()], as_json: AsJson = False
) -> None:
    """Another tier; the user's endpoints obey it at once."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.users.set_tier(user_id, tier), lambda user: views.users([user]))
