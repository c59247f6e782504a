"""Links that need no token: they open one object, one way, for a quarter of an hour, and nobody makes the gateway sign another."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import httpx
import pytest

from contracts import keys
from embedded.secrets import Secrets
from embedded.services import BUCKET, REGION
from gateway.settings import Settings
from servicekit.objects import ObjectStore
from servicekit.settings import S3Settings
from tests.attack import matrix

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(300)]

LIFE_S = 15 * 60


@pytest.fixture
def download(victim) -> str:
    return str(victim.person.client.deployments.link(victim.ids["deployment_id"]).download_url)


@pytest.fixture
async def store(stack):
    """The store as the platform's own services see it."""
    secrets = json.loads((stack.home / "secrets.json").read_bytes(), object_hook=lambda found: Secrets(**found))
    settings = S3Settings(
        s3_endpoint=stack.about.s3_url,
        s3_access_key=secrets.s3_access_key,
        s3_secret_key=secrets.s3_secret_key,
        s3_bucket=BUCKET,
        s3_region=REGION,
    )
    async with ObjectStore(settings) as opened:
        yield opened


def with_query(url: str, **changes: str | None) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **changes}
    return urlunsplit(
        parts._replace(query=urlencode({name: value for name, value in query.items() if value is not None}))
    )


def with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=path))


def test_a_link_lives_for_a_quarter_of_an_hour(download) -> None:
    defaults = dict(zip(reversed(Settings.__struct_fields__), reversed(Settings.__struct_defaults__), strict=False))
    assert defaults["download_ttl_s"] == LIFE_S
    assert dict(parse_qsl(urlsplit(download).query))["X-Amz-Expires"] == str(LIFE_S)
    assert httpx.get(download).status_code == 200


def test_a_link_cannot_be_widened(download, victim, figure) -> None:
    """Another object, another method, another life, another answer, another version: each is a broken signature."""
    path = urlsplit(download).path
    folder = path.rsplit("/", 1)[0]
    signature = dict(parse_qsl(urlsplit(download).query))["X-Amz-Signature"]
    attempts = {
        "metadata of the same job": ("GET", with_path(download, f"{folder}/metadata.json")),
        "the folder": ("GET", with_path(download, f"{folder}/")),
        "the bucket": ("GET", with_path(download, f"/{BUCKET}")),
        "the store": ("GET", with_path(download, "/")),
        "a checkpoint": ("GET", with_path(download, "/" + victim.training.checkpoint_path.removeprefix("s3://"))),
        "a detour": ("GET", with_path(download, f"{folder}/x/../metadata.json")),
        "an encoded detour": ("GET", with_path(download, f"{folder}/%2e%2e/{uuid4()}/metadata.json")),
        "a second slash": ("GET", with_path(download, path.replace("/exports/", "//exports/"))),
        "PUT": ("PUT", download),
        "DELETE": ("DELETE", download),
        "POST": ("POST", download),
        "a longer life": ("GET", with_query(download, **{"X-Amz-Expires": "604800"})),
        "a later date": ("GET", with_query(download, **{"X-Amz-Date": later(hours=1)})),
        "another type": ("GET", with_query(download, **{"response-content-type": "text/html"})),
        "another name": ("GET", with_query(download, **{"response-content-disposition": "inline"})),
        "a version": ("GET", with_query(download, versionId="null")),
        "its permissions": ("GET", with_query(download, acl="")),
        "parts of uploads": ("GET", with_query(download, uploads="")),
        "no signature": ("GET", with_query(download, **{"X-Amz-Signature": None})),
        "another signature": ("GET", with_query(download, **{"X-Amz-Signature": signature[::-1]})),
        "no query": ("GET", with_path(urlunsplit(urlsplit(download)._replace(query="")), path)),
        "other signed headers": ("GET", with_query(download, **{"X-Amz-SignedHeaders": ""})),
    }
    opened = [name for name, (method, url) in attempts.items() if httpx.request(method, url).status_code < 400]
    figure("ways to widen a presigned link that work", trials=len(attempts), measured=len(opened), promised=0)
    assert not opened
    assert httpx.get(download).status_code == 200, "the package is still there"


def later(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).strftime("%Y%m%dT%H%M%SZ")


async def test_a_link_ends(store, until) -> None:
    key = f"uploads/{uuid4()}/x"
    await store.put_bytes(key, b"mine")
    url = await store.presign_get(key, 2)
    statuses = [httpx.get(url).status_code]
    until(lambda: statuses.append(httpx.get(url).status_code) or statuses[-1] == 403, 60, "the link has ended")
    assert set(statuses) <= {200, 403}


def test_an_upload_link_takes_one_file_and_gives_none(gateway, thief) -> None:
    content = b"weights"
    body = {"filename": "a.pt", "size_bytes": len(content), "sha256": sha256(content).hexdigest()}
    headers = {"Authorization": f"Bearer {thief.token}"}
    made = gateway.post("/api/v1/uploads", json=body, headers=headers).json()
    url, needed = made["upload_url"], made["headers"]
    refused = [
        httpx.put(url, content=b"other!!", headers=needed),
        httpx.put(url, content=content + b"more", headers=needed | {"content-length": str(len(content) + 4)}),
        httpx.put(url, content=content),
        httpx.put(with_path(url, urlsplit(url).path.replace("a.pt", "b.pt")), content=content, headers=needed),
        httpx.get(url),
        httpx.delete(url),
    ]
    assert [answer.status_code < 400 for answer in refused] == [False] * len(refused), refused
    assert httpx.put(url, content=content, headers=needed).status_code == 200
    bodiless = {name: value for name, value in needed.items() if name != "content-length"}
    assert httpx.get(url, headers=bodiless).status_code >= 400, "a link to write is none to read"


def test_nobody_signs_or_reads_for_a_stranger(gateway, victim, thief) -> None:
    """Neither a checkpoint's path nor a file's name leads to an object of somebody else."""
    theirs = victim.training.checkpoint_path
    bucket, own = f"s3://{BUCKET}/", f"s3://{BUCKET}/uploads/{thief.person.id}/"
    paths = [
        theirs,
        f"{own}../{victim.ids['user_id']}/x/best.pt",
        f"{own}%2e%2e/{victim.ids['user_id']}/x/best.pt",
        f"{own}/../../{theirs.removeprefix(bucket)}",
        f"{bucket}exports/{victim.job.id}/model.onnx",
        f"{bucket}triton-models/{victim.ids['deployment_id']}/1/model.onnx",
        f"{bucket}uploads/{thief.person.id}",
        f"{bucket}uploads/{thief.person.id}x/best.pt",
        f"s3://other/{theirs.removeprefix(bucket)}",
        f"http://169.254.169.254/{theirs.removeprefix(bucket)}",
        f"s3://{BUCKET}@evil.example/x",
        f"s3://{BUCKET}.evil.example/x",
        f"S3://{BUCKET}/uploads/{thief.person.id}/x",
        "file:///etc/passwd",
        f"{own}a\u202eb.pt",
        own + "x" * 2000,
    ]
    _, rest = matrix.MAKERS["register_training"]
    headers = {"Authorization": f"Bearer {thief.token}"}
    for path in paths:
        answer = gateway.post("/api/v1/training", json=rest | {"checkpoint_path": path}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) in {
            (400, "invalid_uri"),
            (400, "invalid_request"),
            (422, "object_missing"),
        }, (path, answer.text)
    names = ["../../x/best.pt", "/etc/passwd", "..\\..\\x\\best.pt", f"../../{victim.ids['user_id']}/x/best.pt"]
    for name in names:
        body = {"filename": name, "size_bytes": 1, "sha256": "0" * 64}
        made = gateway.post("/api/v1/uploads", json=body, headers=headers)
        assert made.status_code == 201
        assert made.json()["uri"].startswith(own), "only the last part of a name is used, below one's own prefix"
        assert urlsplit(made.json()["upload_url"]).path.startswith(f"/{BUCKET}/uploads/{thief.person.id}/")


def test_the_store_itself_knows_nobody(stack, victim) -> None:
    """Ids in keys are no secret: without a signature no object is read, listed or written."""
    root = f"{stack.about.s3_url}/{BUCKET}"
    package = keys.export_file(victim.job.id, keys.PACKAGE)
    for path in ("", f"/{package}", "/?list-type=2&prefix=uploads/", "/?prefix=exports/"):
        assert httpx.get(root + path).status_code == 403, path
    assert httpx.put(f"{root}/{package}", content=b"x").status_code == 403
    assert httpx.delete(f"{root}/{package}").status_code == 403
    assert httpx.get(stack.about.s3_url).status_code == 403
