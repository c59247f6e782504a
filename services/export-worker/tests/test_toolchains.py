"""The environments: the table, the announcements' needs, the extras, the pins, and the smoke command."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from contracts.vocabulary import ExportFormat, Framework
from export_worker import registry, smoke, toolchains, warmup
from export_worker.toolchains import CORE, EXTRAS, FLAVORS, LAYERS, NEEDS, TOOLCHAINS, Toolchain, missing_modules

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "services" / "export-worker" / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {"litert_torch": "litert-torch", "tensorrt_rtx": "tensorrt-rtx"}
TABLE = pytest.mark.parametrize("toolchain", TOOLCHAINS, ids=lambda one: one.name)


def pins(toolchain: Toolchain) -> dict[str, str]:
    lines = (ROOT / toolchain.pins).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def extra_packages(toolchain: Toolchain) -> dict[str, str]:
    listed = [line for name in toolchain.extras for line in PROJECT["optional-dependencies"][name]]
    return dict(line.split("==") for line in listed)


def test_each_format_is_made_in_one_environment() -> None:
    made = [name for toolchain in TOOLCHAINS for name in toolchain.formats()]
    assert sorted(made) == sorted(ExportFormat)
    assert {toolchain.name for toolchain in TOOLCHAINS} >= {CORE, "litert"}
    assert len({toolchain.environment for toolchain in TOOLCHAINS}) == len(TOOLCHAINS)


def test_the_demo_installs_one_environment_with_what_it_needs() -> None:
    assert {toolchain.name: toolchain.formats("demo") for toolchain in TOOLCHAINS if toolchain.formats("demo")} == {
        CORE: (ExportFormat.ONNX, ExportFormat.TORCHSCRIPT)
    }


def test_everything_has_its_needs_and_formats_beyond_torchs_own_have_an_extra() -> None:
    assert set(NEEDS) == {*ExportFormat, *Framework}
    assert set(EXTRAS) == set(ExportFormat) - {ExportFormat.ONNX, ExportFormat.TORCHSCRIPT}
    assert set(registry.RUNTIMES) <= set(NEEDS)


@TABLE
def test_an_environments_extras_are_those_of_its_formats_and_the_frameworks(toolchain: Toolchain) -> None:
    assert set(toolchain.extras) == set(Framework) | {EXTRAS[name] for name in toolchain.formats() if name in EXTRAS}
    assert set(toolchain.extras) <= set(PROJECT["optional-dependencies"])


@TABLE
def test_the_extras_bring_every_module_that_the_formats_need(toolchain: Toolchain) -> None:
    base = {line.split("==")[0] for line in PROJECT["dependencies"]}
    brought = base | set(extra_packages(toolchain))
    needed = {name for key in (*toolchain.formats(), *Framework) for name in NEEDS[key]}
    if ExportFormat.TENSORRT in toolchain.formats():
        needed |= set(FLAVORS["rtx"])
    assert {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in needed} <= brought


@TABLE
def test_the_pins_of_an_environment_are_those_of_the_extras(toolchain: Toolchain) -> None:
    fixed = pins(toolchain)
    assert {name: fixed.get(name) for name in extra_packages(toolchain)} == extra_packages(toolchain)
    lines = (ROOT / toolchain.pins).read_text().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("-")], "pins name no address"


def test_the_readme_shows_the_table() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| ")]
    commands = {"demo": "`make demo`", "test": "`make setup`"}
    for toolchain in TOOLCHAINS:
        for layer, part in toolchain.layers.items():
            made = ", ".join(part.formats)
            cells = (toolchain.name, f"`{toolchain.environment}`", made, f"`{toolchain.pins}`", commands[layer])
            assert f"| {' | '.join(cells)} |" in rows


@TABLE
@pytest.mark.parametrize("layer", LAYERS)
def test_the_requirement_files_exist_and_the_smoke_command_speaks_of_the_layer(
    toolchain: Toolchain, layer: str
) -> None:
    folder = ROOT / "deploy" / "requirements"
    assert all((folder / f"{name}.txt").is_file() for name in toolchain.requirements(layer))
    assert toolchain.smoke(layer)[:2] == ("-m", "export_worker.smoke")
    words = toolchain.smoke(layer)[2:]
    assert set(toolchain.formats(layer)) == set(words) - set(Framework)


def test_the_smoke_command_names_what_is_broken_and_what_it_was_at() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN.format(code="json._no_such")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "loading json._no_such" in ended.stdout
    assert "broken: json._no_such: ModuleNotFoundError" in ended.stdout


BROKEN = """
from export_worker import smoke
smoke.wanted = lambda purposes: ["json", "{code}"]
raise SystemExit(smoke.main([]))
"""


def test_the_smoke_command_loads_what_formats_and_frameworks_need() -> None:
    names = smoke.wanted(["tflite", "timm"])
    assert names[0] == "torch"
    native = {"ai_edge_litert.interpreter", "ai_edge_quantizer.quantizer"}
    assert set(names) == {*NEEDS[ExportFormat.TFLITE], *native, "timm", *smoke.SERVICE}
    with pytest.raises(ValueError, match="tflight"):
        smoke.wanted(["tflight"])


def test_what_few_jobs_need_and_takes_long_is_imported_once_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "is_installed", lambda name: True)
    assert set(warmup.later()) == {
        registry.CONVERTERS[(registry.TORCH, ExportFormat.COREML)],
        registry.RUNTIMES[ExportFormat.COREML],
    }
    assert not set(warmup.later()) & set(warmup.entries())


def test_a_warm_run_imports_only_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {(registry.TORCH, name): f"{name}:convert" for name in ExportFormat}
    monkeypatch.setattr(registry, "CONVERTERS", entries)
    monkeypatch.setattr(registry, "RUNTIMES", {name: f"{name}:open" for name in ExportFormat})
    monkeypatch.setattr(warmup, "is_installed", lambda name: name is not ExportFormat.TFLITE)
    assert "onnx:convert" in warmup.entries()
    assert not [entry for entry in warmup.entries() if entry.startswith("tflite")]


@pytest.mark.parametrize(
    ("absent", "installed"),
    [((), True), (("tensorrt",), True), (("tensorrt_rtx",), True), (("tensorrt", "tensorrt_rtx"), False)],
)
def test_one_builder_of_engines_is_enough(
    absent: tuple[str, ...], installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchains, "missing_modules", lambda names: [name for name in names if name in absent])
    assert toolchains.is_installed(ExportFormat.TENSORRT) is installed


LOADED_INSIDE = """
import sys
class Outside:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("servicekit", "nats", "aioboto3", "litestar"):
            raise ImportError(f"{name} is not in the sandbox")
sys.meta_path.insert(0, Outside())
from export_worker import child, registry, warmup
entries = [registry.BEGIN, registry.FORECASTER, registry.WEIGHER, *registry.LOADERS.values(), *warmup.entries(), *warmup.later()]
for entry in entries:
    registry.resolve(entry)
print("all of it")
"""


def test_what_runs_in_the_sandbox_needs_nothing_that_the_sandbox_does_not_show() -> None:
    ended = subprocess.run([sys.executable, "-c", LOADED_INSIDE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.endswith("all of it\n")


def test_a_gpu_is_its_device_and_the_drivers_nodes_come_along(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    assert toolchains.nvidia_devices(tmp_path) == (), "a driver without a GPU"
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia-uvm").touch()
    (tmp_path / "sda").touch()
    found = [Path(node).name for node in toolchains.nvidia_devices(tmp_path)]
    assert found == ["nvidia-uvm", "nvidia0", "nvidiactl"]


@pytest.mark.parametrize(("absent", "seen"), [((), ("/dev/nvidia0",)), (("tensorrt",), ())])
def test_steps_reach_a_gpu_only_where_they_have_the_builder_that_needs_one(
    absent: tuple[str, ...], seen: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchains, "missing_modules", lambda names: [name for name in names if name in absent])
    monkeypatch.setattr(toolchains, "nvidia_devices", lambda: ("/dev/nvidia0",))
    assert toolchains.step_devices() == seen


def test_missing_modules_are_found_without_importing() -> None:
    assert missing_modules(("json", "no_such_module_here")) == ["no_such_module_here"]
