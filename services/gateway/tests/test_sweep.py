"""What nobody owns goes, and nothing else: by the table, and in a real bucket."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from contracts import keys
from contracts.subjects import LEASES, preflight_lease
from contracts.vocabulary import ExportStatus
from gateway.sweep import Ages, EndedJob, Found, Known, is_expired_upload, is_unowned
from gateway.sweeper import Sweeper
from gateway.testing.outside import Gateway
from servicekit.leases import Lease, Leases
from servicekit.uris import parse_uri

NOW = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)
AGES = Ages(now=NOW, grace=DAY, upload_keep=7 * DAY)
JOB, USER, UPLOAD = (UUID(int=number) for number in (1, 2, 3))
ATTEMPT = keys.attempt_file(JOB, 1, "model.onnx")
PACKAGE = keys.export_file(JOB, keys.PACKAGE)
FILE = keys.upload(USER, UPLOAD, "best.pt")


def job(status: ExportStatus, days: float | None, *keeps: str) -> Known:
    ended = None if days is None else NOW - timedelta(days=days)
    return Known(jobs={JOB: EndedJob(status=status, ended_at=ended, keeps=frozenset(keeps))})


@pytest.mark.parametrize(
    ("key", "age_days", "known", "goes"),
    [
        (ATTEMPT, 5, job(ExportStatus.COMPLETED, 4), True),
        (ATTEMPT, 5, job(ExportStatus.COMPLETED, 0.5), False),  # a zombie may still be uploading
        (ATTEMPT, 0.5, job(ExportStatus.COMPLETED, 4), False),
        (ATTEMPT, 5, job(ExportStatus.RUNNING, None), False),
        (ATTEMPT, 5, job(ExportStatus.FAILED, 4, ATTEMPT), False),  # the log that the row names
        (ATTEMPT, 5, job(ExportStatus.FAILED, 4), True),
        (PACKAGE, 5, job(ExportStatus.COMPLETED, 4, PACKAGE), False),
        (keys.export_file(JOB, "README.md"), 5, job(ExportStatus.COMPLETED, 4), False),
        (PACKAGE, 5, job(ExportStatus.CANCELLED, 4), True),
        (PACKAGE, 5, Known(), True),
        (PACKAGE, 0.5, Known(), False),
        (FILE, 7.5, Known(), False),
        (FILE, 9, Known(), True),
        (FILE, 900, Known(checkpoints=frozenset({FILE})), False),
        (FILE, 900, Known(checkpoints=frozenset({FILE.rsplit("/", 1)[0]})), False),
        (keys.triton_config(JOB), 5, Known(), True),
        (keys.triton_config(JOB), 0.5, Known(), False),
        (keys.triton_config(JOB), 5, Known(deployments=frozenset({JOB})), False),
        (keys.edge_package(JOB), 5, Known(), True),
        (keys.edge_package(JOB), 0.5, Known(), False),
        (keys.edge_package(JOB), 5, Known(deployments=frozenset({JOB})), False),
        (keys.container_package(JOB), 5, Known(), True),
        (keys.container_package(JOB), 5, Known(deployments=frozenset({JOB})), False),
        ("edge-packages/notes.zip", 5000, Known(), False),
        (f"edge-packages/{JOB}/beside.zip", 5000, Known(), False),
        (keys.preflight(USER, "0" * 64), 6.5, Known(), False),
        (keys.preflight(USER, "0" * 64), 7.5, Known(), True),
        (keys.kept_export(USER, "0" * 64), 6.5, Known(), False),
        (keys.kept_export(USER, "0" * 64), 7.5, Known(), True),
        ("trained/elsewhere/best.pt", 5000, Known(), False),
        ("exports/notes.txt", 5000, Known(), False),
    ],
)
def test_what_may_be_removed(key: str, age_days: float, known: Known, goes: bool) -> None:
    assert is_unowned(Found(key=key, modified=NOW - timedelta(days=age_days)), known, AGES) is goes


def test_an_upload_expires_a_grace_before_it_is_removed() -> None:
    """So nobody registers what the sweep is about to remove."""
    at = NOW - AGES.upload_keep - timedelta(seconds=1)
    assert is_expired_upload(FILE, at, NOW, AGES.upload_keep)
    assert not is_unowned(Found(key=FILE, modified=at), Known(), AGES)


@pytest.mark.integration
async def test_a_real_bucket_keeps_what_somebody_owns(gateway: Gateway) -> None:
    client = await gateway.tenant()
    done = await gateway.completed(client)
    training = await gateway.training(client)
    running = await gateway.export(client, training["id"])
    store = gateway.parts.objects
    objects = {
        keys.attempt_file(UUID(done["id"]), 1, "model.onnx"): False,
        keys.export_file(UUID(done["id"]), keys.PACKAGE): True,
        keys.attempt_file(UUID(running["id"]), 1, "model.onnx"): True,
        keys.export_file(uuid4(), keys.PACKAGE): False,
        keys.triton_config(uuid4()): False,
        keys.upload(uuid4(), uuid4(), "never registered.pt"): False,
        f"trained/{uuid4()}.pt": True,
    }
    for key in objects:
        await store.put_bytes(key, b"x")
    await store.client.create_multipart_upload(Bucket=store.bucket, Key=f"exports/{uuid4()}/broken-off")
    leases = Leases(gateway.parts.bus)
    for job_id in (done["id"], running["id"], preflight_lease(uuid4())):
        lease = await leases.take(job_id, "worker")
        assert isinstance(lease, Lease)
        await lease.complete()

    young = Sweeper(gateway.parts)
    assert (await young.objects(), await young.broken_uploads(), await young.leases()) == (0, 0, 0)
    tiny = dict.fromkeys(("sweep_grace_s", "upload_keep_s", "lease_keep_s"), 1e-06)
    sweeper = Sweeper(replace(gateway.parts, settings=replace(gateway.parts.settings, **tiny)))
    assert await sweeper.objects() >= 4
    assert {key: await store.exists(key) for key in objects} == objects
    assert await sweeper.broken_uploads() >= 1
    assert await sweeper.leases() == 2
    assert set(await (await gateway.parts.bus.kv(LEASES)).keys()) == {running["id"]}
    assert await store.exists(parse_uri(training["checkpoint_path"], store.bucket)), "uploads that are registered stay"
