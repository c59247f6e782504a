"""What a worker says it can do, and why not."""

from collections.abc import Callable, Iterable

from contracts.vocabulary import ExportFormat, Framework
from export_worker.announce import missing_modules, probe, taken_formats
from export_worker.sandbox.bubblewrap import SandboxState

BOX = SandboxState(available=True, description="bubblewrap")
BOTH = (ExportFormat.ONNX, ExportFormat.TORCHSCRIPT)


def without(*absent: str) -> Callable[[Iterable[str]], list[str]]:
    def missing(names: Iterable[str]) -> list[str]:
        return [name for name in names if name in absent]

    return missing


def test_everything_installed_means_both_formats() -> None:
    told = probe("w", slots=2, formats=BOTH, sandbox=BOX, missing=without())
    assert taken_formats(told) == [ExportFormat.ONNX, ExportFormat.TORCHSCRIPT]
    assert all(told.frameworks[name].available for name in Framework)
    assert set(told.formats) == set(ExportFormat)
    assert "not available in this release" in told.formats[ExportFormat.TENSORRT].reason


def test_a_missing_toolchain_is_named() -> None:
    told = probe("w", slots=1, formats=BOTH, sandbox=BOX, missing=without("onnxruntime", "timm"))
    assert told.formats[ExportFormat.ONNX].reason == "not installed on this worker: onnxruntime"
    assert taken_formats(told) == [ExportFormat.TORCHSCRIPT]
    assert not told.frameworks[Framework.TIMM].available


def test_a_format_of_another_pool_is_not_taken() -> None:
    told = probe("w", slots=1, formats=(ExportFormat.ONNX,), sandbox=BOX, missing=without())
    assert taken_formats(told) == [ExportFormat.ONNX]


def test_without_a_sandbox_nothing_is_taken() -> None:
    state = SandboxState(available=False, description="not installed: bwrap")
    told = probe("w", slots=1, formats=BOTH, sandbox=state, missing=without())
    assert taken_formats(told) == []
    assert told.formats[ExportFormat.ONNX].reason == "sandbox_unavailable: not installed: bwrap"


def test_missing_modules_are_found_without_importing() -> None:
    assert missing_modules(("json", "no_such_module_here")) == ["no_such_module_here"]
