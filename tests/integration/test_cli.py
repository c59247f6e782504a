"""The command line against the real stack, as a user types it."""

import json
import os
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cli(stack, tmp_path_factory):
    """`cli(*arguments)`: the finished process; addresses and token come from the stack's own file."""
    folder = tmp_path_factory.mktemp("cli")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELPORT_")}

    def run(*arguments, code=0, **variables):
        ran = subprocess.run(
            [sys.executable, "-m", "modelport", *map(str, arguments)],
            cwd=folder,
            env={**environment, "MODELPORT_HOME": str(stack.home), **variables},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran

    return run


@pytest.fixture(scope="module")
def exported(cli, detector):
    what = ("--framework", "ultralytics", "--task", "object_detection", "--model-name", "yolo11n")
    return json.loads(cli("export", detector.checkpoint, *what, "--tag", "by-cli", "--wait", "--json").stdout)


def test_export_of_a_local_checkpoint(exported, cli):
    assert (exported["status"], exported["proof"], exported["version_tag"]) == ("completed", "verified", "by-cli")
    assert exported["id"] in cli("exports").stdout
    assert exported["training_job_id"] in cli("train", "list").stdout


def test_report_log_and_trace(exported, cli):
    report = cli("report", exported["id"]).stdout
    assert "verified" in report
    assert "matched" in report
    assert cli("log", exported["id"]).stdout
    trace = cli("trace", exported["id"]).stdout
    assert "export-worker" in trace
    assert "█" in trace


def test_download(exported, cli, tmp_path):
    target = tmp_path / "package.zip"
    cli("download", exported["id"], "--output", target)
    with zipfile.ZipFile(target) as opened:
        assert "metadata.json" in opened.namelist()


def test_packages_for_devices_and_containers(exported, cli, tmp_path):
    edge = ("--type", "edge_package", "--platform", "android")
    for kind, member in ((edge, "labels.txt"), (("--type", "container", "--image-name", "shapes"), "Dockerfile")):
        ran = cli("deploy", exported["id"], *kind, "--json")
        made = json.loads(ran.stdout)
        assert made["status"] == "active", ran.stderr
        target = tmp_path / f"{made['id']}.zip"
        cli("download", made["id"], "--output", target)
        with zipfile.ZipFile(target) as opened:
            assert member in opened.namelist()
        cli("keys", "--save")
        cli("verify", target)
    refused = cli("deploy", exported["id"], "--type", "container", "--image-name", "a;b", code=1)
    assert "config.image_name" in refused.stderr


def test_deploy_infer_and_take_down(exported, cli, pictures, tmp_path):
    made = json.loads(cli("deploy", exported["id"], "--name", "by-cli", "--json").stdout)
    drawn = tmp_path / "drawn.png"
    key = {"MODELPORT_API_KEY": made["api_key"]}
    found = json.loads(cli("infer", made["id"], pictures[0], "--output", drawn, "--json", **key).stdout)
    assert found["predictions"]
    with Image.open(drawn) as image, Image.open(pictures[0]) as source:
        assert image.size == source.size
    assert made["id"] in cli("deployments").stdout
    assert "deployed" in cli("history", made["id"]).stdout
    new = json.loads(cli("rotate-key", made["id"], "--json").stdout)["api_key"]
    assert new != made["api_key"]
    cli("deactivate", made["id"])
    cli("reactivate", made["id"])
    cli("usage", made["id"])
    cli("delete", made["id"], "--yes")
    assert "not_found" in cli("usage", made["id"], code=1).stderr


def test_capabilities_tell_what_the_worker_can_do(cli):
    answers = json.loads(cli("capabilities", "--json").stdout)
    assert {answer["framework"] for answer in answers} == {"ultralytics", "timm", "huggingface"}
    assert all(answer["live"]["onnx"]["available"] for answer in answers)


def test_users(cli):
    made = json.loads(cli("users", "create", "by-cli", "--tier", "pro", "--json").stdout)
    assert made["token"].startswith("mp_")
    assert "by-cli" in cli("users", "list").stdout
    told = json.loads(cli("users", "me", "--json", MODELPORT_TOKEN=made["token"]).stdout)
    assert (told["name"], told["tier"]) == ("by-cli", "pro")
    assert "forbidden" in cli("users", "list", code=1, MODELPORT_TOKEN=made["token"]).stderr


def test_a_failed_export_says_why(cli, detector):
    what = ("--framework", "ultralytics", "--task", "image_classification", "--model-name", "yolo11n")
    failed = cli("export", detector.checkpoint, *what, "--wait", code=1)
    assert "checkpoint_task_mismatch" in failed.stdout


def test_what_nobody_can_do_is_refused_before_waiting(cli, exported):
    refused = cli("export", exported["training_job_id"], "--format", "coreml", "--set", "embed_nms=true", code=1)
    assert "[unsupported]" in refused.stdout
    assert "hint" in refused.stdout
