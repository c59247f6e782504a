"""`modelport verify` and `modelport keys`: whether a package is what its maker signed, and whom to believe."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from contracts.signing_keys import PublicKey, public_keys
from modelport.cli import views
from modelport.cli.session import AsJson, Session
from modelport.errors import ClientError
from modelport.keys import SigningKey
from modelport.packages import trust
from modelport.packages.report import Outcome, Report
from modelport.packages.verify import Wish
from modelport.packages.verify import verify as check

INCOMPLETE = 4
STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.NOT_RUN: "yellow", Outcome.SKIPPED: "yellow"}


def add_commands(app: typer.Typer) -> None:
    app.command("verify")(verify)
    app.command("keys")(keys)


def verify(
    ctx: typer.Context,
    package: Annotated[
        Path, typer.Argument(exists=True, help="A package's zip, or the folder that it was unpacked into.")
    ],
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", help="File with the public keys to trust, instead of those saved; repeatable."),
    ] = None,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Run the package's golden vectors.")] = True,
    run_in: Annotated[str, typer.Option("--run-in", help="The Python that runs them.")] = sys.executable,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Check the rest of a package that nobody signed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check signature, digests and golden vectors of a package, without any network.

    Exit code 0: everything is right; 1: something is wrong; 4: nothing is wrong, but not everything could be checked.
    """
    session = Session(ctx, as_json)
    trusted = trust.trusted(key or [], os.environ)
    wish = Wish(keys=trusted, python=run_in if run else None, allow_unsigned=allow_unsigned, environ=os.environ)
    report = check(package, wish)
    session.show(report, _report)
    if report.has_failed:
        raise typer.Exit(1)
    if not report.is_complete:
        raise typer.Exit(INCOMPLETE)


def _report(report: Report) -> RenderableType:
    rows = [
        (Text(str(check.outcome).replace("_", " "), style=STYLES[check.outcome]), check.name, check.detail)
        for check in report.checks
    ]
    hints = [Text(f"Hint: {check.hint}") for check in report.checks if check.hint]
    told = (("package", report.package), ("model", f"{report.model} ({report.export_format})" if report.model else ""))
    return Group(views.facts(told), views.table(("RESULT", "CHECK", "FOUND"), rows), *hints, _verdict(report))


def _verdict(report: Report) -> Text:
    if report.has_failed:
        return Text(
            "This package is not what a maker whom you trust has signed, or does not work here.", style="bold red"
        )
    if not report.is_complete:
        return Text("Nothing is wrong, but not everything could be checked.", style="bold yellow")
    unsigned = "" if report.key_id else " It is unsigned."
    return Text(
        f"Everything that was checked is right.{unsigned}", style="bold green" if report.key_id else "bold yellow"
    )


def keys(
    ctx: typer.Context,
    save: Annotated[
        bool, typer.Option("--save", help="Trust them: `modelport verify` accepts their packages.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The public keys with which your gateway says packages are signed; compare their ids by another way before you trust them."""
    session = Session(ctx, as_json)
    with session.client() as client:
        found = client.keys.list()
    session.show(found, _keys)
    if not save:
        return
    if not found:
        raise ClientError(
            "There is no key to save: packages are not signed.", "The packager needs MODELPORT_SIGNING_KEY_FILE."
        )
    target, new = trust.save(map(_public, found), os.environ)
    session.note(f"{len(new)} new, {len(found) - len(new)} known; trusted keys are in {target}")


def _public(found: SigningKey) -> PublicKey:
    """The key itself; its id is made here, whatever the gateway says."""
    try:
        [key] = public_keys(found.public_key)
    except ValueError as error:
        raise ClientError(f"The gateway published a key that cannot be used: {error}.") from error
    if key.key_id != found.key_id:
        raise ClientError(f"The gateway published the key {key.key_id} under another name.")
    return key


def _keys(found: tuple[SigningKey, ...]) -> RenderableType:
    if not found:
        return Text("Packages are not signed here.", style="yellow")
    return views.table(
        ("ID", "CURVE", "SIGNS NOW"), [(k.key_id, k.curve, "yes" if k.is_current else "") for k in found]
    )
