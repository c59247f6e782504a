"""Small checkpoints trained honestly on this machine: `build(name)` makes one at first use and finds it afterwards."""

from samples.cache import Sample, build, describe
from samples.recipes import NAMES, RECIPES, Recipe
from samples.shapes import write_pictures

__all__ = ["NAMES", "RECIPES", "Recipe", "Sample", "build", "describe", "write_pictures"]
