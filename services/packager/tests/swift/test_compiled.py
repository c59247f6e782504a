"""`swift test` of a package, where a Swift toolchain is."""

import shutil
import subprocess
from pathlib import Path

import pytest

from packager.export_package import Package
from packager.toolchains.tools import needed

PATIENCE_S = 900.0


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_the_compiled_core_repeats_the_golden_vectors(package: Package, tmp_path: Path) -> None:
    swift = needed("swift", "swiftlang")
    for name, path in package.members.items():
        target = tmp_path / "package" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    command = [swift, "test", "--package-path", str(tmp_path / "package" / "runtimes" / "swift")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
