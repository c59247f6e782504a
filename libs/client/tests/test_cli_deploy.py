"""Deployments and packages from the command line: asked for, waited for, fetched."""

import json

import pytest

from modelport.cli.app import main

pytestmark = pytest.mark.usefixtures("environment")


def test_deploy_shows_the_key_once_it_serves(server, deployment, capsys):
    made = deployment(status="pending", api_key="pk_secret")
    server.json("POST", "/api/v1/deployments", made, status=201)
    server.json("GET", f"/api/v1/deployments/{made['id']}", deployment(endpoint_url="http://px/v1/infer/1"))
    assert main(["deploy", "j1", "--name", "shapes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["api_key"], answer["status"]) == ("pk_secret", "active")


def test_a_failed_deployment_is_exit_code_1(server, deployment):
    made = deployment(status="pending")
    server.json("POST", "/api/v1/deployments", made, status=201)
    server.json("GET", f"/api/v1/deployments/{made['id']}", deployment(status="failed"))
    assert main(["deploy", "j1"]) == 1


def test_an_edge_package_is_waited_for_and_fetched(server, reply, deployment, tmp_path, monkeypatch, capsys):
    made = deployment(status="pending", deployment_type="edge_package")
    path = f"/api/v1/deployments/{made['id']}"
    states = (deployment(status=status, deployment_type="edge_package") for status in ("deploying", "active"))
    server.json("POST", "/api/v1/deployments", made, status=201)
    server.reply("GET", path, *(reply(200, json.dumps(state).encode()) for state in states))
    assert main(["deploy", "j1", "--type", "edge_package", "--platform", "ios", "--no-sample-code"]) == 0
    out, err = capsys.readouterr()
    asked = server.of("POST", "/api/v1/deployments")[0].json()
    assert asked["config"] == {"target_platform": "ios", "includes_sample_code": False}
    assert "deploying" in err
    assert f"modelport download {made['id']}" in out
    link = {"download_url": f"{server.url}/zip", "expires_at": "2026-11-24T09:00:00Z", "filename": "../../.x/ios 1.zip"}
    server.json("GET", f"{path}/download", link)
    server.reply("GET", "/zip", reply(200, b"PK"))
    monkeypatch.chdir(tmp_path)
    assert main(["download", made["id"]]) == 0
    assert (tmp_path / "ios 1.zip").read_bytes() == b"PK"


def test_a_container_is_asked_for_with_its_image(server, deployment):
    server.json("POST", "/api/v1/deployments", deployment(deployment_type="container", status="pending"), status=201)
    image = ["--image-name", "a/b", "--image-tag", "v1", "--base-image", "local/triton:1", "--registry", "reg:5000"]
    assert main(["deploy", "j1", "--type", "container", *image, "--no-wait"]) == 0
    expected = {"image_name": "a/b", "image_tag": "v1", "base_image": "local/triton:1", "registry": "reg:5000"}
    assert server.of("POST", "/api/v1/deployments")[0].json()["config"] == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--type", "edge_package"], "--platform: ios, android"),
        (["--type", "edge_package", "--platform", "toaster"], "toaster"),
        (["--platform", "ios"], "of --type edge_package, not of platform_endpoint"),
        (["--type", "edge_package", "--platform", "ios", "--image-tag", "v1"], "config.image_tag"),
    ],
)
def test_options_of_another_type_are_refused_by_name(arguments, says, capsys):
    assert main(["deploy", "j1", *arguments]) == 2
    assert says in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_refused_format_shows_what_would_work(server, capsys):
    problem = {
        "code": "unsupported",
        "detail": "config.target_platform: ios cannot run tflite exports.",
        "hint": "What works: coreml, onnx.",
    }
    server.json("POST", "/api/v1/deployments", problem, status=422)
    assert main(["deploy", "j1", "--type", "edge_package", "--platform", "ios"]) == 1
    assert "Hint: What works: coreml, onnx." in capsys.readouterr().err


def test_download_of_an_export_makes_the_deployment(server, reply, deployment, tmp_path):
    made = deployment(deployment_type="download")
    server.json("POST", "/api/v1/deployments", made, status=201)
    server.json("GET", f"/api/v1/deployments/{made['id']}", made)
    link = {"download_url": f"{server.url}/zip", "expires_at": "2026-11-24T09:00:00Z"}
    server.json("GET", f"/api/v1/deployments/{made['id']}/download", link)
    server.reply("GET", "/zip", reply(200, b"PK"))
    target = tmp_path / "p.zip"
    assert main(["download", "job-1", "-o", str(target)]) == 0
    assert target.read_bytes() == b"PK"
