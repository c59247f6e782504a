"""What a step is shown: our packages and its GPU, not the checkout, and nothing that would reach for a network."""

from pathlib import Path

import pytest

from export_worker import toolchains
from export_worker.sandbox import seen
from servicekit.sandbox.bubblewrap import child_environment


def test_only_packages_are_shown_not_the_checkout() -> None:
    shown = seen.by_steps().paths
    assert any(Path(path) in Path(seen.__file__).parents for path in shown)
    assert not any((Path(path) / ".git").exists() for path in shown)


def test_a_step_sees_the_gpu_that_engines_are_built_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "step_devices", lambda: ("/dev/nvidia0",))
    assert seen.by_steps().devices == ("/dev/nvidia0",)
    assert seen.step_devices is not toolchains.step_devices


def test_caches_lie_in_the_job_and_nothing_is_downloaded() -> None:
    variables = child_environment(1, seen.by_steps().variables, "/job/tmp")
    assert variables["HF_HOME"] == "/job/tmp/hf"
    assert (variables["HF_HUB_OFFLINE"], variables["YOLO_OFFLINE"]) == ("1", "true")
