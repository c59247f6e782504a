"""The README names every setting and no command that does not exist."""

import re
from importlib import import_module
from pathlib import Path

import msgspec
import pytest
from typer.main import get_command

from modelport.cli.app import build_app

README = (Path(__file__).parents[1] / "README.md").read_text()
SETTINGS = {
    "gateway.settings": ("Settings",),
    "packager.settings": ("Settings",),
    "deployer.settings": ("Settings",),
    "inference_proxy.settings": ("Settings",),
    "export_worker.settings": ("WorkerSettings",),
    "servicekit.settings": ("BusSettings", "PostgresSettings", "S3Settings", "HttpSettings"),
    "embedded.settings": ("EmbeddedSettings",),
}


def documented() -> set[str]:
    """The variables of the configuration table, without their prefix."""
    table = README.split("## Configuration", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)}


@pytest.mark.parametrize("module", SETTINGS)
def test_every_setting_is_in_the_table(module):
    known = documented()
    for name in SETTINGS[module]:
        fields = {field.name.upper() for field in msgspec.structs.fields(getattr(import_module(module), name))}
        assert fields <= known


def test_every_variable_of_the_table_is_a_setting():
    fields = {
        field.name.upper()
        for module, names in SETTINGS.items()
        for name in names
        for field in msgspec.structs.fields(getattr(import_module(module), name))
    }
    assert documented() - fields <= {"LOG_LEVEL", "LOG_FORMAT"}


def test_the_commands_of_the_examples_exist():
    commands = set(get_command(build_app()).commands)
    used = set(re.findall(r"^modelport ([a-z-]+)", README, re.MULTILINE)) | set(
        re.findall(r"`modelport ([a-z-]+)", README)
    )
    assert used
    assert used <= commands
