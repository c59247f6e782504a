"""The build script of a container package, run with engines that are there and that are not."""

import asyncio
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.deployment import ContainerConfig
from packager import container_package, export_package
from packager.export_package import Package

from .conftest import make_artefact

BASE = "registry.example/triton:1"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """One export for all tests here, which change nothing of it."""
    folder = tmp_path_factory.mktemp("export")
    artefact = make_artefact(folder)
    return asyncio.run(export_package.assemble(artefact.metadata, artefact.sources(), folder))


def build(package: Package, folder: Path, config: ContainerConfig | None = None, **changes: Any) -> zipfile.ZipFile:
    folder.mkdir(exist_ok=True)
    metadata = replace(package.metadata, **changes)
    given = config or ContainerConfig()
    return zipfile.ZipFile(container_package.build(metadata, package.members, given, folder, base_image=BASE))


@pytest.mark.parametrize("engines", ["", "nothing-here"])
def test_the_build_script_says_what_to_install(package: Package, tmp_path: Path, engines: str) -> None:
    script = tmp_path / "build.sh"
    script.write_bytes(build(package, tmp_path / "made").read("build.sh"))
    shell = shutil.which("sh")
    assert shell
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dirname").symlink_to(str(shutil.which("dirname")))
    done = subprocess.run(
        (shell, str(script)), env={"PATH": str(tools), "ENGINE": engines}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert f"none of these works here: {engines or 'docker podman buildah'}; install one" in done.stderr


@pytest.mark.parametrize("engine", ["docker", "podman", "buildah"])
def test_the_build_script_hands_name_and_options_to_what_works(package: Package, tmp_path: Path, engine: str) -> None:
    folder = tmp_path / "a folder's $name"
    folder.mkdir()
    build(package, tmp_path / "made").extractall(folder)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("docker", "podman", "buildah"):
        works = "exit 0" if name == engine else "exit 1"
        (tools / name).write_text(f'#!/bin/sh\n[ "$1" = info ] && {works}\npwd\nprintf "%s\\n" "$@"\n')
        (tools / name).chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "IMAGE": "my image:1"}
    done = subprocess.run(
        ("/bin/sh", str(folder / "build.sh"), "--label", "a b"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    verb = "bud" if engine == "buildah" else "build"
    assert done.stdout.splitlines() == [str(folder), verb, "--label", "a b", "-t", "my image:1", "."]


def test_the_build_script_is_a_program(package: Package, tmp_path: Path) -> None:
    made = build(package, tmp_path / "made")
    modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in made.infolist()}
    assert modes.pop("build.sh") == 0o755
    assert set(modes.values()) == {0o644}
