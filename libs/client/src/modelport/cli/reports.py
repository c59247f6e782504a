"""What a job proved and how it went: `report`, `log`, `trace`."""

import typer

from modelport.cli import parity, waterfall
from modelport.cli.exports import JobId
from modelport.cli.safe import plain
from modelport.cli.session import AsJson, Session


def add_commands(app: typer.Typer) -> None:
    app.command("report")(report)
    app.command("log")(log)
    app.command("trace")(trace)


def report(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """How closely the artefact reproduces its source."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.exports.report(job_id), parity.view)


def log(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """The whole log of the run."""
    session = Session(ctx, as_json)
    with session.client() as client:
        text = client.exports.log(job_id)
    if as_json:
        session.show({"log": text}, str)
    else:
        session.out.file.write(plain(text))


def trace(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """The waterfall of a job, from the request to the package."""
    session = Session(ctx, as_json)
    with session.client() as client:
        session.show(client.exports.trace(job_id), waterfall.view)
