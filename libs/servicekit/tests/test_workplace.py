"""Folders of processes: a dead one's is removed, a living one's and a stranger's are not."""

import os
import subprocess
import sys
from pathlib import Path

from servicekit.workplace import Home, delete


def test_the_folder_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / "lock").touch()
    (tmp_path / "dead" / "run-1").mkdir()
    (tmp_path / "somebody-else").mkdir()
    first = Home(tmp_path, "first")
    second = Home(tmp_path, "second")
    assert not (tmp_path / "dead").exists()
    assert (tmp_path / "somebody-else").is_dir()
    assert first.path.is_dir()
    second.release()
    assert not second.path.exists()


def test_a_sandbox_that_a_dead_process_left_is_ended(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / "lock").touch()
    (tmp_path / "bwrap").symlink_to(sys.executable)
    command = [str(tmp_path / "bwrap"), "-S", "-c", "print(flush=True); import time; time.sleep(60)", f"{dead}/run/job"]
    orphan = subprocess.Popen(command, env={}, stdout=subprocess.PIPE)
    assert orphan.stdout is not None
    assert orphan.stdout.readline() == b"\n"
    Home(tmp_path, "next").release()
    assert orphan.wait() == -9


def test_deleting_takes_any_depth_and_any_permissions(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "link").symlink_to(tmp_path)
    (tree / "closed").chmod(0o000)
    delete(tree)
    delete(tree)
    assert not os.path.lexists(tree)
    assert tmp_path.is_dir()
