"""Secrets are kept as digests alone: after the whole path was driven, every place where one could lie is searched."""

import asyncio
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest

from contracts import credentials
from contracts.vocabulary import Scope
from embedded.secrets import load_or_create
from embedded.services import dsn
from modelport import Client
from modelport.models import TrainingJob
from samples.cache import Sample
from tests.attack.watch import watching
from tests.stack import Person, Stack

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(600)]

PRIVATE = ("secrets.json", "stack.json", "postgres/password")
"""Where secrets belong: files of the operator's own, which nobody else may read."""
TERMINAL = "stack.log"
"""What the operator reads on the terminal: the administrator's token is told there, once."""
LIMIT_S = 60
Places = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Driven:
    """Secrets by name, and texts that were shown to users."""

    secrets: dict[str, str]
    shown: list[bytes]
    digest: str
    """Of the endpoint's present key: what must be found."""


@pytest.fixture(scope="module")
def driven(
    stack: Stack, admin: Client, owner: Person, detector: Sample, detector_training: TrainingJob, pictures: list[Path]
) -> Driven:
    """A new token, an export, an endpoint, both of its keys, and every kind of refusal."""
    made = load_or_create(stack.home / "secrets.json")
    token = admin.users.create_token(owner.id, [Scope.READ, Scope.WRITE])
    with Client(stack.about.gateway_url, token.token, stack.about.proxy_url) as client, watching() as seen:
        person = Person(owner.id, client)
        job = person.export(detector_training)
        endpoint, first = person.deploy(job)
        second = client.deployments.rotate_key(endpoint.id).api_key
        client.endpoint(endpoint.id, second).infer(pictures[0])
        shown = [client.exports.log(job.id).encode()]
        shown += list(refusals(stack, str(job.id), str(endpoint.id), token.token, [first, second]))
    secrets = {
        "a user's token": token.token,
        "a rotated API key": first,
        "an API key": second,
        "the administrator's token": made.admin_token,
        "the pepper": made.key_pepper,
        "the S3 secret": made.s3_secret_key,
        "PostgreSQL's password": made.postgres_password,
    }
    shown += [*seen.command_lines, *seen.environments]
    assert seen.environments, "no process was seen inside a sandbox"
    return Driven(secrets, shown, credentials.digest(second, made.key_pepper))


def refusals(stack: Stack, job_id: str, deployment_id: str, token: str, keys: list[str]) -> Iterator[bytes]:
    """What gateway and proxy say to requests that carry a secret where it does not belong; and a job's stream."""
    about, bad = stack.about, token[:-1] + ("0" if token[-1] != "0" else "1")
    with httpx.Client(timeout=LIMIT_S, trust_env=False) as http:
        for given in (token, bad, *keys):
            bearer = {"Authorization": f"Bearer {given}"}
            for url in (f"{about.gateway_url}/api/v1/export/jobs/{given}", f"{about.gateway_url}/api/v1/users"):
                yield http.get(url, headers=bearer, params={"cursor": given}).content.replace(given.encode(), b"", 1)
            for path in (deployment_id, "00000000-0000-0000-0000-000000000000"):
                answer = http.post(f"{about.proxy_url}/v1/infer/{path}", headers=bearer, content=b"x")
                yield answer.content + str(answer.headers).encode()
        with http.stream(
            "GET",
            f"{about.gateway_url}/api/v1/export/jobs/{job_id}/events",
            headers={"Authorization": f"Bearer {token}"},
        ) as events:
            yield b"".join(events.iter_raw())


def files(home: Path) -> Places:
    """Everything on disk: logs, traces, the bus's streams, the object store, PostgreSQL with its write-ahead log."""
    for path in home.rglob("*"):
        name = str(path.relative_to(home))
        if name in (*PRIVATE, TERMINAL) or path.is_symlink() or not path.is_file() or not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield name, content  # a mapping is searched like bytes


def tables(stack: Stack) -> Places:
    """Every row of every table, as a dump has it."""

    async def dump() -> list[tuple[str, bytes]]:
        connection = await asyncpg.connect(dsn(stack.ports, load_or_create(stack.home / "secrets.json")))
        found = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname !~ '^(pg_|information)'"
        )
        dumped = []
        for row in found:
            rows: list[bytes] = []

            async def keep(part: bytes, rows: list[bytes] = rows) -> None:
                rows.append(part)

            await connection.copy_from_query(f"SELECT * FROM {row['name']}", output=keep)
            dumped.append((row["name"], b"".join(rows)))
        await connection.close()
        return dumped

    yield from asyncio.run(dump())


def test_no_secret_is_found_anywhere(
    stack: Stack, driven: Driven, figure: Callable[..., None], until: Callable[..., None]
) -> None:
    digest = driven.digest.encode()
    until(lambda: any(digest in content for name, content in tables(stack)), LIMIT_S, "the digest is in the database")
    found, searched, kinds = [], 0, set()
    for kind, places in (
        ("file", files(stack.home)),
        ("table", tables(stack)),
        ("shown", ((text[:80].decode("utf-8", "replace"), text) for text in driven.shown)),
    ):
        for place, content in places:
            searched += 1
            if content.find(digest) >= 0:
                kinds.add(kind)
            found += [
                (name, kind, place) for name, secret in driven.secrets.items() if content.find(secret.encode()) >= 0
            ]
    figure("places where a secret lies in plain text", trials=searched, measured=len(found), promised=0)
    assert not found
    assert {"file", "table"} <= kinds, "what must be found was not: the search looks at the wrong places"


def test_files_with_secrets_belong_to_the_operator_alone(stack: Stack) -> None:
    for name in PRIVATE:
        assert not (stack.home / name).stat().st_mode & 0o077, name
