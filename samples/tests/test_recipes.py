import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samples import cache
from samples.cache import _digest, _modules_of
from samples.held_out import held_out
from samples.recipes import RECIPES
from samples.scenes import ROTATED_CLASSES
from samples.shapes import CLASSES


@pytest.mark.parametrize("name", RECIPES)
def test_the_trainer_of_every_recipe_exists(name: str) -> None:
    module, _, function = RECIPES[name].trainer.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert f"def {function}(folder" in Path(spec.origin).read_text()


def test_the_detector_knows_the_classes_that_are_drawn() -> None:
    assert RECIPES["shapes-detector"].classes == CLASSES
    assert RECIPES["shapes-oriented"].classes == ROTATED_CLASSES


def test_a_sample_is_thrown_away_when_its_own_code_changes_only() -> None:
    assert _modules_of("detector", set()) == {"detector", "shapes", "training"}
    assert _modules_of("timm_classifier", set()) == {"timm_classifier", "digits", "training"}
    assert len({_digest(recipe) for recipe in RECIPES.values()}) == len(RECIPES)


def test_a_sample_is_thrown_away_with_what_it_starts_from(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _digest(RECIPES["shapes-pose"])
    other = replace(RECIPES["shapes-detector"], model_name="another")
    monkeypatch.setattr(cache, "RECIPES", {**RECIPES, "shapes-detector": other})
    assert _digest(RECIPES["shapes-pose"]) != before


@pytest.mark.parametrize("name", RECIPES)
def test_there_are_held_out_pictures_of_every_class(name: str) -> None:
    scenes = held_out(name)
    if RECIPES[name].task_type == "semantic_segmentation":
        seen = {int(label) for scene in scenes for label in np.unique(scene.label_map())}
    else:
        seen = {truth.class_id for scene in scenes for truth in scene.truths}
    assert seen == set(range(len(RECIPES[name].classes)))
