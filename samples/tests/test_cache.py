import json
from dataclasses import replace
from pathlib import Path

import pytest

from samples import cache
from samples.recipes import Recipe

TOY = Recipe(
    trainer="toy_trainers:train",
    checkpoint="model.pt",
    framework="timm",
    task_type="image_classification",
    model_name="toy",
    classes=("a", "b"),
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two trainers in a module of their own: one writes a checkpoint, the other fails."""
    (tmp_path / "toy_trainers.py").write_text(
        "from samples.training import progress\n"
        "def train(folder):\n"
        "    progress('half way')\n"
        "    with (folder / 'model.pt').open('a') as out: out.write('weights')\n"
        "    return {'accuracy': 0.5}\n"
        "def further(folder):\n"
        "    (folder / 'model.pt').write_text('more ' + (folder / 'base.pt').read_text())\n"
        "    return {'accuracy': 0.6}\n"
        "def fail(folder):\n"
        "    raise ValueError('no digits today')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_digest", lambda recipe: "0")
    recipes = {name: replace(TOY, trainer=f"toy_trainers:{name}") for name in ("train", "further", "fail")}
    recipes["further"] = replace(recipes["further"], base="train")
    monkeypatch.setattr(cache, "RECIPES", recipes)
    return tmp_path / "cache" / "samples"


def test_trains_once_and_tells_what_it_measured(toy: Path) -> None:
    lines: list[str] = []
    first = cache.describe("train", lines.append)
    again = cache.describe("train", lines.append)
    assert first.checkpoint == again.checkpoint
    assert first.checkpoint.read_text() == "weights"
    assert first.metrics == {"accuracy": 0.5}
    assert json.loads((first.checkpoint.parent / cache.REPORT).read_text())["metrics"] == {"accuracy": 0.5}
    assert len(lines) == 3
    assert lines[1] == "half way"


def test_a_failed_training_leaves_nothing_that_counts_as_a_sample(toy: Path) -> None:
    with pytest.raises(cache.TrainingFailed, match="no digits today"):
        cache.build("fail", lambda line: None)
    assert not (toy / "fail-0").exists()


def test_a_training_starts_from_the_sample_that_it_names(toy: Path) -> None:
    made = cache.describe("further", lambda line: None)
    assert made.checkpoint.read_text() == "more weights"
    assert (toy / "train-0" / "model.pt").read_text() == "weights"
    assert not (made.checkpoint.parent / "base.pt").exists()
