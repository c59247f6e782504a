"""What live workers can do, and the reason where none can."""

import pytest
from msgspec import structs

from contracts.capabilities import OTHER_POOL, Availability, WorkerAnnouncement
from contracts.vocabulary import ExportFormat, ExportRoute, Framework
from gateway.workers import availability, waits_for

YES, NO = Availability(available=True), Availability(available=False, reason="its toolchain is missing")


def worker(
    name: str, formats: dict[ExportFormat, Availability], frameworks: dict[Framework, Availability]
) -> WorkerAnnouncement:
    return WorkerAnnouncement(
        worker_id=name, slots=1, busy=0, formats=formats, frameworks=frameworks, sandbox="bubblewrap", toolchain={}
    )


def test_one_worker_must_do_both() -> None:
    loads = worker("a", {ExportFormat.ONNX: NO}, {Framework.TIMM: YES})
    makes = worker("b", {ExportFormat.ONNX: YES}, {Framework.TIMM: NO})
    both = worker("c", {ExportFormat.ONNX: YES}, {Framework.TIMM: YES})
    assert availability([loads, makes], Framework.TIMM, ExportFormat.ONNX) == Availability(
        available=False, reason="a: its toolchain is missing"
    )
    assert availability([loads, makes, both], Framework.TIMM, ExportFormat.ONNX).available


def test_without_workers_the_reason_is_that() -> None:
    assert availability([], Framework.TIMM, ExportFormat.ONNX).reason == "no worker is running"


GPU_LESS = Availability(available=True, flavors={"tensorrt": "no NVIDIA GPU on this worker", "rtx": ""})
GPU = Availability(available=True, flavors={"tensorrt": "", "rtx": "not installed on this worker: tensorrt_rtx"})
TIMM = {Framework.TIMM: YES}


def test_flavors_are_those_of_all_workers_together() -> None:
    ahead, here = worker("a", {ExportFormat.TENSORRT: GPU_LESS}, TIMM), worker("b", {ExportFormat.TENSORRT: GPU}, TIMM)
    assert availability([ahead], Framework.TIMM, ExportFormat.TENSORRT).flavors == {
        "tensorrt": "a: no NVIDIA GPU on this worker",
        "rtx": "",
    }
    for both in ([ahead, here], [here, ahead]):
        assert availability(both, Framework.TIMM, ExportFormat.TENSORRT).flavors == {"tensorrt": "", "rtx": ""}


def test_a_flavor_needs_a_worker_that_loads_the_framework() -> None:
    told = availability([worker("a", {ExportFormat.TENSORRT: GPU}, {})], Framework.TIMM, ExportFormat.TENSORRT)
    assert not told.available
    assert told.flavors["tensorrt"] == "a: it does not load timm"


def test_an_engine_for_a_gpu_waits_for_a_worker_that_has_one() -> None:
    ahead = worker("a", {ExportFormat.TENSORRT: GPU_LESS}, TIMM)
    assert waits_for([ahead], Framework.TIMM, ExportRoute.TENSORRT) == (
        "a worker with an NVIDIA GPU and TensorRT; a: no NVIDIA GPU on this worker"
    )
    assert waits_for([ahead], Framework.TIMM, ExportRoute.TENSORRT_RTX) == ""
    here = worker("b", {ExportFormat.TENSORRT: GPU}, TIMM)
    assert waits_for([ahead, here], Framework.TIMM, ExportRoute.TENSORRT) == ""


def test_without_workers_everything_waits() -> None:
    told = waits_for([], Framework.TIMM, ExportRoute.TFLITE)
    assert told == "a worker that makes tflite from timm models; no worker is running"


def test_a_job_waits_while_every_worker_that_could_take_it_is_busy() -> None:
    idle = worker("a", {ExportFormat.ONNX: YES}, TIMM)
    busy = structs.replace(idle, worker_id="b", busy=1)
    other = worker("c", {ExportFormat.TFLITE: YES}, TIMM)
    assert waits_for([busy, other], Framework.TIMM, ExportRoute.ONNX) == (
        "a free worker: those that can take it are busy (b)"
    )
    assert waits_for([busy, idle], Framework.TIMM, ExportRoute.ONNX) == ""


@pytest.mark.parametrize("route", ExportRoute)
def test_every_route_is_waited_for_by_name(route: ExportRoute) -> None:
    assert waits_for([worker("a", {}, {})], Framework.TIMM, route).endswith("; a: it does not load timm")


def test_workers_of_other_pools_are_not_spoken_of() -> None:
    elsewhere = Availability(available=False, reason=OTHER_POOL)
    others = [worker(name, {ExportFormat.TFLITE: elsewhere}, {}) for name in "ab"]
    wanted = "a worker that makes tflite from timm models"
    nobody = "none of the workers that are running is there for it"
    assert waits_for(others, Framework.TIMM, ExportRoute.TFLITE) == f"{wanted}; {nobody}"
    assert availability(others, Framework.TIMM, ExportFormat.TFLITE).reason == nobody
    pool = [*others, *(worker(name, {ExportFormat.TFLITE: NO}, TIMM) for name in "cdefg")]
    told = "c, d, e and 2 more: its toolchain is missing"
    assert waits_for(pool, Framework.TIMM, ExportRoute.TFLITE) == f"{wanted}; {told}"
    assert availability(pool, Framework.TIMM, ExportFormat.TFLITE).reason == "c: its toolchain is missing"
