"""What a worker says it can do, and why not."""

from collections.abc import Callable, Iterable

import pytest

from contracts.vocabulary import ExportFormat, ExportRoute, Framework
from export_worker import registry
from export_worker.announce import NO_GPU, probe, taken_formats, taken_routes
from servicekit.sandbox.bubblewrap import SandboxState

BOX = SandboxState(available=True, description="bubblewrap")
BOTH = (ExportFormat.ONNX, ExportFormat.TORCHSCRIPT)
RTX, TENSORRT = ExportRoute.TENSORRT_RTX, ExportRoute.TENSORRT


@pytest.fixture
def every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converters and runtimes for all formats, whatever the registry holds."""
    monkeypatch.setattr(registry, "CONVERTERS", {(registry.TORCH, name): "a:b" for name in ExportFormat})
    monkeypatch.setattr(registry, "RUNTIMES", dict.fromkeys(ExportFormat, "a:b"))


def without(*absent: str) -> Callable[[Iterable[str]], list[str]]:
    def missing(names: Iterable[str]) -> list[str]:
        return [name for name in names if name in absent]

    return missing


@pytest.mark.usefixtures("every_format")
def test_everything_installed_and_a_gpu_mean_every_format() -> None:
    told = probe("w", slots=2, formats=tuple(ExportFormat), sandbox=BOX, missing=without(), gpu=True)
    assert taken_formats(told) == sorted(ExportFormat)
    assert taken_routes(told) == sorted(ExportRoute)
    assert all(told.frameworks[name].available for name in Framework)


def test_what_nothing_here_converts_is_not_taken_however_much_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONVERTERS", {(registry.TORCH, ExportFormat.ONNX): "a:b"})
    told = probe("w", slots=2, formats=tuple(ExportFormat), sandbox=BOX, missing=without(), gpu=True)
    assert taken_formats(told) == [ExportFormat.ONNX]
    assert "not available in this release" in told.formats[ExportFormat.TENSORRT].reason


@pytest.mark.usefixtures("every_format")
def test_without_a_gpu_engines_are_built_ahead_of_time_alone() -> None:
    told = probe("w", slots=1, formats=tuple(ExportFormat), sandbox=BOX, missing=without(), gpu=False)
    assert told.formats[ExportFormat.TENSORRT].available
    assert told.formats[ExportFormat.TENSORRT].flavors == {"tensorrt": NO_GPU, "rtx": ""}
    assert RTX in taken_routes(told)
    assert TENSORRT not in taken_routes(told)


@pytest.mark.usefixtures("every_format")
def test_a_worker_with_a_gpu_and_one_builder_takes_that_flavor_alone() -> None:
    told = probe("w", slots=1, formats=tuple(ExportFormat), sandbox=BOX, missing=without("tensorrt_rtx"), gpu=True)
    assert told.formats[ExportFormat.TENSORRT].flavors == {
        "tensorrt": "",
        "rtx": "not installed on this worker: tensorrt_rtx",
    }
    assert TENSORRT in taken_routes(told)
    assert RTX not in taken_routes(told)


@pytest.mark.usefixtures("every_format")
def test_without_any_builder_each_flavor_says_what_it_lacks() -> None:
    gone = without("tensorrt_rtx", "tensorrt")
    told = probe("w", slots=1, formats=tuple(ExportFormat), sandbox=BOX, missing=gone, gpu=False)
    state = told.formats[ExportFormat.TENSORRT]
    assert not state.available
    assert f"tensorrt: {NO_GPU}; not installed on this worker: tensorrt" in state.reason
    assert "rtx: not installed on this worker: tensorrt_rtx" in state.reason
    assert not {RTX, TENSORRT} & set(taken_routes(told))


@pytest.mark.usefixtures("every_format")
@pytest.mark.parametrize(
    ("absent", "lost"),
    [
        ("openvino", ExportFormat.OPENVINO),
        ("coremltools", ExportFormat.COREML),
        ("litert_torch", ExportFormat.TFLITE),
        ("ai_edge_litert", ExportFormat.TFLITE),
    ],
)
def test_a_format_without_its_toolchain_names_it(absent: str, lost: ExportFormat) -> None:
    told = probe("w", slots=1, formats=tuple(ExportFormat), sandbox=BOX, missing=without(absent), gpu=True)
    assert told.formats[lost].reason == f"not installed on this worker: {absent}"
    assert taken_formats(told) == sorted(set(ExportFormat) - {lost})


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
