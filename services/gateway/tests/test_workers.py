"""What live workers can do, and the reason where none can."""

from contracts.capabilities import Availability, WorkerAnnouncement
from contracts.vocabulary import ExportFormat, Framework
from gateway.workers import availability

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


def test_what_the_platform_cannot_do_no_worker_can() -> None:
    capable = worker("a", {ExportFormat.COREML: YES}, {Framework.HUGGINGFACE: YES})
    answer = availability([capable], Framework.HUGGINGFACE, ExportFormat.COREML)
    assert not answer.available
    assert "huggingface" in answer.reason
