"""`modelport diff`: what changed between two exports."""

from itertools import groupby
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from modelport.cli import views
from modelport.cli.session import AsJson, Session
from modelport.errors import ApiError
from modelport.packages.diff import Comparison, Difference, compare, metadata_of
from modelport.packages.errors import IncomparableError, PackageError

DIFFERENT = 1
SHOWN = 60
MEASURED = frozenset({"graph", "metrics", "files"})
"""Parts whose numbers are amounts; a version or a setting has not grown by so many percent."""
Side = Annotated[
    str, typer.Argument(help="Id of an export job, a package's zip, or the folder that it was unpacked into.")
]


def add_commands(app: typer.Typer) -> None:
    app.command("diff")(diff)


def diff(ctx: typer.Context, before: Side, after: Side, as_json: AsJson = False) -> None:
    """What changed between two exports: configuration, toolchain, graph, metadata, metrics, files.

    Exit code 0: nothing; 1: something; 2: they cannot be compared.
    """
    session = Session(ctx, as_json)
    try:
        found = compare(_metadata(session, before), _metadata(session, after))
    except (ApiError, PackageError) as error:
        raise IncomparableError(error.message, error.hint) from error
    session.show(Comparison(before=before, after=after, differences=found), _view)
    if found:
        raise typer.Exit(DIFFERENT)


def _metadata(session: Session, side: str) -> dict[str, object]:
    """Of a package that lies here, else of a job on the server."""
    if Path(side).exists():
        return metadata_of(Path(side))
    with session.client() as client:
        return client.exports.metadata(side)


def _view(found: Comparison) -> RenderableType:
    if not found.differences:
        return Text("No differences.", style="green")
    tables: list[RenderableType] = []
    for part, group in groupby(found.differences, lambda difference: difference.part):
        rows = [(Text(each.field), _short(each.before), _short(each.after), _change(each)) for each in group]
        tables += [Text(part, style="bold"), views.table(("FIELD", "BEFORE", "AFTER", "CHANGE"), rows), Text()]
    return Group(*tables[:-1])


def _short(value: object) -> Text:
    if value is None:
        return Text("-", style="dim")
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return Text(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def _change(difference: Difference) -> Text:
    """By how much an amount changed."""
    before, after = difference.before, difference.after
    if difference.part not in MEASURED or not _is_number(before) or not _is_number(after) or not before:
        return Text()
    percent = 100 * (float(str(after)) - float(str(before))) / abs(float(str(before)))
    return Text(f"{percent:+.1f} %")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
