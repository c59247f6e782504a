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


def test_without_a_sandbox_only_what_runs_no_code_is_taken() -> None:
    state = SandboxState(available=False, description="not installed: bwrap")
    told = probe("w", slots=1, formats=BOTH, sandbox=state, missing=without())
    assert taken_formats(told) == sorted(BOTH)
    assert [name for name in Framework if not told.frameworks[name].available] == [Framework.ULTRALYTICS]
    assert told.frameworks[Framework.ULTRALYTICS].reason.startswith("sandbox_unavailable: not installed: bwrap; ")
    assert told.sandbox == "none: not installed: bwrap; takes only safetensors"


def test_a_risk_that_is_accepted_is_told() -> None:
    state = SandboxState(available=False, description="not installed: bwrap")
    told = probe("w", slots=1, formats=BOTH, sandbox=state, takes_code=True, missing=without())
    assert all(told.frameworks[name].available for name in Framework)
    assert told.sandbox.endswith("by MODELPORT_UNSANDBOXED_CHECKPOINTS=accept")


def test_the_proven_barriers_are_told() -> None:
    state = SandboxState(available=True, description="bubblewrap", barriers={"network": ""})
    assert probe("w", slots=1, formats=BOTH, sandbox=state, missing=without()).barriers == {"network": ""}


def test_missing_modules_are_found_without_importing() -> None:
    assert missing_modules(("json", "no_such_module_here")) == ["no_such_module_here"]
