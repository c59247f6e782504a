"""A job that no live worker can take says what it waits for, holds up nobody else, and can be cancelled."""

import msgspec

from contracts.capabilities import Availability, WorkerAnnouncement
from contracts.events import ExportCancelledV1
from contracts.subjects import WORKERS
from contracts.vocabulary import ExportFormat, ExportRoute, Framework
from gateway.testing.outside import Client, Gateway, until
from gateway.workers import TTL_S

JOBS = "/api/v1/export/jobs"
NO_GPU = "no NVIDIA GPU on this worker"


async def announce(gateway: Gateway, name: str, **flavors: str) -> None:
    """A live worker that builds engines of these flavours, each with why not."""
    tensorrt = Availability(available=not all(flavors.values()), flavors=flavors)
    told = WorkerAnnouncement(
        worker_id=name,
        slots=1,
        busy=0,
        formats={ExportFormat.TENSORRT: tensorrt},
        frameworks={Framework.ULTRALYTICS: Availability(available=True)},
        sandbox="bubblewrap",
        toolchain={},
    )
    bucket = await gateway.parts.bus.kv(WORKERS, ttl=TTL_S, memory=True)
    await bucket.put(name, msgspec.json.encode(told))


async def engine(client: Client, training: str, flavor: str) -> str:
    config = {"flavor": flavor}
    body = {"training_job_id": training, "export_format": "tensorrt", "export_config": config}
    return str((await client.post(JOBS, body))["id"])


async def route_of(gateway: Gateway, job_id: str) -> list[str]:
    """Last tokens of the subjects that the job's request was published on."""
    await gateway.requested(job_id)
    asked = {route: await gateway.messages(f"export.jobs.requested.v1.{route}") for route in ExportRoute}
    return [str(route) for route, bodies in asked.items() if any(job_id.encode() in body for body in bodies)]


async def test_an_engine_for_a_gpu_waits_visibly_until_a_worker_has_one(gateway: Gateway) -> None:
    client = await gateway.tenant("pro")
    training = (await gateway.training(client))["id"]
    await announce(gateway, "w1", tensorrt=NO_GPU, rtx="")
    here, ahead = await engine(client, training, "tensorrt"), await engine(client, training, "rtx")
    waits = f"a worker with an NVIDIA GPU and TensorRT; w1: {NO_GPU}"
    assert (await client.get(f"{JOBS}/{here}"))["waits_for"] == waits
    assert (await client.get(f"{JOBS}/{ahead}"))["waits_for"] == ""
    listed = {job["id"]: job["waits_for"] for job in (await client.get(JOBS))["items"]}
    assert listed == {here: waits, ahead: ""}
    assert await route_of(gateway, here) == ["tensorrt"]
    assert await route_of(gateway, ahead) == ["tensorrt_rtx"]
    live = (await client.get("/api/v1/export/capabilities?framework=ultralytics"))["live"]["tensorrt"]
    assert live == {"available": True, "reason": "", "flavors": {"tensorrt": f"w1: {NO_GPU}", "rtx": ""}}
    await announce(gateway, "w2", tensorrt="", rtx="not installed on this worker: tensorrt_rtx")
    assert (await client.get(f"{JOBS}/{here}"))["waits_for"] == ""


async def test_a_waiting_job_is_cancelled_like_any_other_and_then_waits_for_nothing(gateway: Gateway) -> None:
    client = await gateway.tenant("pro")
    job = await engine(client, (await gateway.training(client))["id"], "tensorrt")
    assert (await client.get(f"{JOBS}/{job}"))["waits_for"].endswith("no worker is running")
    assert (await client.post(f"{JOBS}/{job}/cancel"))["status"] == "cancelled"
    assert (await client.get(f"{JOBS}/{job}"))["waits_for"] == ""

    async def told() -> list[ExportCancelledV1] | None:
        return await gateway.stated(ExportCancelledV1) or None

    assert [str(fact.job_id) for fact in await until(told)] == [job]


async def test_jobs_that_wait_for_a_gpu_hold_up_none_that_need_none(gateway: Gateway) -> None:
    client = await gateway.tenant("enterprise")
    training = (await gateway.training(client))["id"]
    waiting = [await engine(client, training, "tensorrt") for _ in range(gateway.parts.settings.exports_ahead + 1)]
    ahead = await engine(client, training, "rtx")
    sql = "SELECT count(*) FROM export_jobs WHERE released_at IS NOT NULL AND route = $1"
    assert await gateway.parts.pool.fetchval(sql, "tensorrt") == gateway.parts.settings.exports_ahead < len(waiting)
    assert await gateway.parts.pool.fetchval(sql, "tensorrt_rtx") == 1
    assert await route_of(gateway, ahead) == ["tensorrt_rtx"]
