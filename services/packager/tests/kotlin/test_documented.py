"""The programs that documents and READMEs show, compiled with the probe and run where they say."""

import os
import subprocess

import pytest
from PIL import Image

from .programs import documented
from .test_wrapper import means, package


@pytest.mark.parametrize("name", ["kotlin", "kotlin_jvm"])
def test_a_program_that_is_shown_runs_as_it_stands(kotlin_wrapper, kotlin_program, tmp_path, name):
    assert f"{name}.kt" in documented()
    package(tmp_path, means(1, is_embedded=True), 1, is_embedded=True, postprocessing__decoder="probabilities")
    here = tmp_path / "runtimes" / "kotlin"
    here.mkdir(parents=True)
    Image.new("RGB", (48, 64), (250, 120, 30)).save(here / "picture.jpg", quality=95)
    main = f"documented.{name}.{name.capitalize()}Kt"
    command = kotlin_wrapper.command(main, classpath=[kotlin_program.jar, kotlin_program.stubs])
    environment = {**os.environ, **kotlin_wrapper.environment}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["class", "0"], ["class", "1"], ["class", "2"]]


def test_what_is_shown_for_android_is_compiled():
    assert "context.assets.open" in documented()["kotlin_android.kt"]
