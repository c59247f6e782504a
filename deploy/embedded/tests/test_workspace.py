"""The packages of the workspace refer to each other by their registered names, so that nothing of ours is looked up elsewhere."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = [
    path.parent
    for pattern in ("libs/*", "services/*", "deploy/*", "samples")
    for path in ROOT.glob(f"{pattern}/pyproject.toml")
]


def name_of(requirement: str) -> str:
    for mark in "[<>=!~; ":
        requirement = requirement.split(mark, 1)[0]
    return requirement.strip().lower().replace("_", "-")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_our_packages_are_named_modelport_something(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "modelport" or project["name"].startswith("modelport-")
    extras = project.get("optional-dependencies", {}).values()
    wanted = {name_of(line) for lines in (project.get("dependencies", []), *extras) for line in lines}
    ours = {tomllib.loads((path / "pyproject.toml").read_text())["project"]["name"] for path in FOLDERS}
    modules = {module.name for path in FOLDERS for module in (path / "src").iterdir()} | {path.name for path in FOLDERS}
    assert not wanted & (modules - ours), "these names belong to others on the package registry"
    assert {name for name in wanted if name.startswith("modelport")} <= ours
