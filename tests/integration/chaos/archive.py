"""Turns a real export into a checkpoint for the stand-in converter: an archive of its artefacts."""

import zipfile
from pathlib import Path

from contracts import keys
from embedded.secrets import load_or_create
from embedded.services import BUCKET, REGION, url
from modelport.models import ExportJob
from servicekit.objects import ObjectStore
from servicekit.settings import S3Settings
from tests.stack import Stack

PARTS = ("model.onnx", keys.METADATA, keys.PARITY_REPORT, keys.GOLDENS)
LIMIT = 64 << 20


def store_of(stack: Stack) -> ObjectStore:
    """The bucket of a stack."""
    secrets = load_or_create(stack.home / "secrets.json")
    settings = S3Settings(
        s3_endpoint=url(stack.ports.s3.s3),
        s3_access_key=secrets.s3_access_key,
        s3_secret_key=secrets.s3_secret_key,
        s3_bucket=BUCKET,
        s3_region=REGION,
    )
    return ObjectStore(settings)


async def archive(stack: Stack, job: ExportJob, path: Path) -> None:
    """Write what the worker made for this job to `path`, as bytes that cannot be compressed further."""
    async with store_of(stack) as store:
        with zipfile.ZipFile(path, "w") as opened:
            for part in PARTS:
                key = keys.attempt_file(job.id, job.attempt, part)
                opened.writestr(part, await store.get_bytes(key, LIMIT))
