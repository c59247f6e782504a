import importlib.util
from pathlib import Path

import pytest

from samples.cache import _digest, _modules_of
from samples.recipes import RECIPES
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


def test_a_sample_is_thrown_away_when_its_own_code_changes_only() -> None:
    assert _modules_of("detector", set()) == {"detector", "shapes", "training"}
    assert _modules_of("timm_classifier", set()) == {"timm_classifier", "digits", "training"}
    assert len({_digest(recipe) for recipe in RECIPES.values()}) == len(RECIPES)
