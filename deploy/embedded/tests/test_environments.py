"""The set-up: what each layer installs where, in which order, and how a broken environment is told."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from export_worker.toolchains import TOOLCHAINS
from packager.environments import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[3]
Steps = list[tuple[str, list[str]]]


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("environments", ROOT / "deploy" / "environments.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Steps]:
    """What a layer's set-up would run in an empty folder, in the order in which each step began."""
    done: Steps = []
    monkeypatch.setattr(setup, "run", lambda title, argv, log: done.append((title, [str(part) for part in argv])))
    core = tmp_path / ".venv"
    (core / "bin").mkdir(parents=True)
    (core / "bin" / "uv").touch()
    monkeypatch.setattr(setup, "CORE", core)

    def of(layer: str) -> Steps:
        setup.set_up(layer, tmp_path)
        return done

    return of


def titles(done: Steps) -> list[str]:
    return [title for title, _ in done]


def test_the_demo_installs_no_toolchain_that_it_does_not_need(steps: Callable[[str], Steps]) -> None:
    done = steps("demo")
    spoken = " ".join(part for _, argv in done for part in argv)
    assert "litert" not in spoken
    assert "toolchains.txt" not in spoken
    assert "demo.txt" in spoken


def test_everything_is_installed_and_each_environment_is_tried_last(steps: Callable[[str], Steps]) -> None:
    done = steps("test")
    names = titles(done)
    for toolchain in TOOLCHAINS:
        mine = [title for title in names if title.startswith(f"{toolchain.name} environment")]
        assert mine[-1] == f"{toolchain.name} environment: smoke test"
        argv = dict(done)[mine[-1]]
        assert argv[0].endswith(f"{toolchain.environment}/bin/python")
        assert tuple(argv[1:]) == toolchain.smoke("test")


def test_other_environments_link_what_the_core_has_fetched(steps: Callable[[str], Steps]) -> None:
    names = titles(steps("test"))
    assert names.index("core environment: packages") < names.index("litert environment: packages")


def test_a_frozen_environment_is_not_resolved_and_gets_the_workers_packages_alone(
    steps: Callable[[str], Steps],
) -> None:
    done = dict(steps("test"))
    assert "--no-deps" in done["litert environment: packages"]
    ours = [part for part in done["litert environment: our packages"] if part.startswith("/")][2:]
    assert {Path(path).name for path in ours} == {"contracts", "servicekit", "processing", "export-worker"}


def test_what_is_broken_is_named_with_the_log(setup: ModuleType, tmp_path: Path) -> None:
    script = "import export_worker.smoke as s; s.wanted = lambda _: ['no_such_toolchain']; raise SystemExit(s.main([]))"
    with pytest.raises(setup.SetupError, match=r"(?s)litert environment: smoke test failed.*broken: no_such_toolchain"):
        setup.run("litert environment: smoke test", [sys.executable, "-c", script], tmp_path / "log")


def test_a_finished_set_up_is_repeated_where_an_environment_is_gone(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = {layer: setup.digest(layer) for layer in setup.LAYERS}
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "CORE", tmp_path / ".venv")
    venvs = [tmp_path / toolchain.environment for toolchain in TOOLCHAINS]
    for venv in (*venvs, *(venv for _, venv in setup.runtimes("test"))):
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").touch()
    assert not setup.is_ready("test", wanted)
    setup.stamp("test").write_text(wanted["test"])
    assert setup.is_ready("test", wanted)
    assert setup.is_ready("demo", wanted), "a wider layer holds a narrower one"
    assert not setup.is_ready("test", wanted | {"test": "other pins"})
    for gone in (".venv-litert", ".venv-runtimes/onnx"):
        (tmp_path / gone / "bin" / "python").rename(tmp_path / "aside")
        assert not setup.is_ready("test", wanted)
        (tmp_path / "aside").rename(tmp_path / gone / "bin" / "python")


@pytest.mark.parametrize("layer", ["demo", "test"])
def test_a_changed_pin_is_noticed(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, layer: str) -> None:
    before = setup.digest(layer)
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self: read(self) + ("x" if self.name == "constraints.txt" else ""))
    assert setup.digest(layer) != before


def test_what_packages_ask_for_is_installed_alone_and_tried(steps: Callable[[str], Steps]) -> None:
    done = dict(steps("test"))
    for environment in ENVIRONMENTS:
        packages = done[f"{environment.export_format} runtime: packages"]
        assert environment.requirements() == [part for part in packages if "==" in part]
        assert f".venv-runtimes/{environment.export_format}/bin/python" in " ".join(packages)
        assert done[f"{environment.export_format} runtime: smoke test"][1] == "-I"


def test_the_demo_gets_the_environments_of_its_own_formats(steps: Callable[[str], Steps]) -> None:
    made = {title.split()[0] for title in titles(steps("demo")) if "runtime: packages" in title}
    (core,) = (toolchain for toolchain in TOOLCHAINS if toolchain.name == "core")
    assert made == {str(export_format) for export_format in core.formats("demo")}
