"""`modelport preflight`, and the look that `modelport export` takes first."""

import json
from uuid import uuid4

import pytest

from contracts.vocabulary import ExportFormat
from modelport.cli.app import main
from modelport.client import Client

JOBS, PREFLIGHT = "/api/v1/export/jobs", "/api/v1/export/preflight"
TRAINING = "8d5e1f3c-0000-4000-8000-000000000002"
GOOD = {
    "format": "onnx",
    "supported": True,
    "route": ["torch", "onnx"],
    "proof": "verified",
    "precision": "fp32",
    "precisions": ["fp32", "fp16"],
    "expected_size_bytes": 2_000_000,
    "expected_seconds": 4.25,
}
BAD = {
    "format": "coreml",
    "supported": False,
    "code": "unsupported_operator",
    "reason": "Core ML lacks aten::kthvalue.",
    "hint": "Choose another format.",
    "operator": "aten::kthvalue in model.22",
    "available": False,
}


@pytest.fixture(autouse=True)
def _environment(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MODELPORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELPORT_URL", server.url)
    monkeypatch.setenv("MODELPORT_TOKEN", "mp_t")


@pytest.fixture
def foreseen(server):
    """`foreseen(forecast, …)`: what the gateway answers to a preflight."""

    def reply(*formats, **changes):
        answer = {"preflight_id": str(uuid4()), "training_job_id": TRAINING, "is_answered": True, "formats": formats}
        server.json("POST", PREFLIGHT, answer | changes)
        return answer["preflight_id"]

    return reply


def test_a_table_of_formats_with_the_reason_and_what_to_do(server, foreseen, capsys):
    foreseen(GOOD | {"waits_for": "a free worker", "available": False}, BAD)
    assert main(["preflight", "--training-job", TRAINING, "-f", "onnx", "--set", "opset_version=15"]) == 0
    out = capsys.readouterr().out
    for said in ("torch > onnx", "verified", "fp32 (fp16)", "1.9 MiB", "4.2", "a free worker"):
        assert said in out
    assert "coreml: Core ML lacks aten::kthvalue. [unsupported_operator]" in out
    assert "coreml: at aten::kthvalue in model.22" in out
    assert "coreml: Choose another format." in out
    (asked,) = server.of("POST", PREFLIGHT)
    assert asked.json() == {
        "training_job_id": TRAINING,
        "export_format": "onnx",
        "export_config": {"opset_version": 15},
    }


def test_json_is_the_whole_answer(foreseen, capsys):
    foreseen(GOOD, BAD)
    assert main(["preflight", TRAINING, "--json"]) == 0
    formats = json.loads(capsys.readouterr().out)["formats"]
    assert [one["supported"] for one in formats] == [True, False]


@pytest.mark.parametrize("arguments", [[], ["x", "--training-job", TRAINING]])
def test_one_checkpoint_or_training_is_needed(arguments, capsys):
    assert main(["preflight", *arguments]) == 2
    assert "--training-job" in capsys.readouterr().err


def test_what_takes_long_is_asked_for_until_it_is_there(server, foreseen):
    name = foreseen(is_answered=False)
    path = f"{PREFLIGHT}s/{name}"
    pending = {"preflight_id": name, "training_job_id": TRAINING, "is_answered": False, "formats": []}
    server.json("GET", path, pending)
    server.json("GET", path, pending | {"is_answered": True, "formats": [GOOD]})
    with Client(server.url, "mp_t") as client:
        found = client.exports.preflight(TRAINING, sleep=lambda _: None)
    assert [one.format for one in found.formats] == [ExportFormat.ONNX]
    assert len(server.of("GET", path)) == 2
    assert "idempotency-key" in server.of("POST", PREFLIGHT)[0].headers


def test_without_a_worker_the_wait_ends(server, foreseen):
    foreseen(is_answered=False)
    with Client(server.url, "mp_t") as client:
        assert not client.exports.preflight(TRAINING, patience_s=0.0).is_answered


def test_an_export_that_would_fail_is_not_begun(server, foreseen, capsys):
    foreseen(GOOD, BAD)
    assert main(["export", TRAINING, "-f", "coreml"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Core ML lacks aten::kthvalue. [unsupported_operator]" in said
    assert "Choose another format." in said
    assert server.of("POST", JOBS) == []


@pytest.mark.parametrize(
    ("arguments", "formats"),
    [
        (["-f", "onnx"], (GOOD, BAD)),
        (["-f", "coreml", "--no-preflight"], (BAD,)),
        (["-f", "coreml"], (BAD | {"code": "step_timeout"},)),
    ],
)
def test_an_export_that_nobody_refuses_is_begun(server, foreseen, job, arguments, formats):
    foreseen(*formats)
    server.json("POST", JOBS, job(), status=201)
    server.json("GET", f"{JOBS}/{job()['id']}", job())
    assert main(["export", TRAINING, *arguments]) == 0
    assert len(server.of("POST", JOBS)) == 1
    assert len(server.of("POST", PREFLIGHT)) == ("--no-preflight" not in arguments)


def test_an_export_goes_on_where_no_preflight_can_be_had(server, job, capsys):
    server.json("POST", PREFLIGHT, {"code": "export_limit_reached", "detail": "Too many."}, status=429)
    server.json("POST", JOBS, job(), status=201)
    server.json("GET", f"{JOBS}/{job()['id']}", job())
    assert main(["export", TRAINING]) == 0
    assert "no preflight: Too many." in capsys.readouterr().err
