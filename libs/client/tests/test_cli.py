"""The command as a user meets it: output, exit codes, sentences."""

import json

import pytest
from PIL import Image

from modelport.cli.app import main
from modelport.cli.session import parse_settings

JOBS = "/api/v1/export/jobs"
STREAM = {"Content-Type": "text/event-stream"}
DONE = b'id: 1\nevent: progressed\ndata: {"stage": "convert", "progress_percent": 40, "message": "onnx"}\n\nid: 2\nevent: completed\ndata: {}\n\n'


pytestmark = pytest.mark.usefixtures("environment")


def test_settings_are_typed():
    given = ["opset_version=17", "embed_nms=true", "dynamic_axes.input=[0]", "method=trace", 'tag="17"']
    assert parse_settings(given, "--set") == {
        "opset_version": 17,
        "embed_nms": True,
        "dynamic_axes": {"input": [0]},
        "method": "trace",
        "tag": "17",
    }


FINISHED = {
    "status": "completed",
    "proof": "verified",
    "model_size_bytes": 2_000_000,
    "wrappers": {"python": {"proof": "verified", "detail": "ran"}, "cpp": {"proof": "built", "detail": "it compiles"}},
}


def test_export_waits_and_shows_the_job(server, reply, job, capsys):
    server.json("POST", JOBS, job(), status=201)
    server.reply("GET", f"{JOBS}/{job()['id']}/events", reply(200, DONE, STREAM))
    server.json("GET", f"{JOBS}/{job()['id']}", job(**FINISHED))
    assert main(["export", "t1", "--set", "opset_version=17", "--wait"]) == 0
    out, err = capsys.readouterr()
    assert "completed" in out
    assert "verified" in out
    assert "1.9 MiB" in out
    assert "cpp wrapper" in out
    assert "built: it compiles" in out
    assert "convert: onnx" in err
    assert server.of("POST", JOBS)[0].json()["export_config"] == {"opset_version": 17}


def test_json_is_the_whole_of_stdout(server, reply, job, capsys):
    server.json("POST", JOBS, job(), status=201)
    server.reply("GET", f"{JOBS}/{job()['id']}/events", reply(200, DONE, STREAM))
    server.json("GET", f"{JOBS}/{job()['id']}", job(status="completed"))
    assert main(["export", "t1", "--wait", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "completed"


def test_a_failed_job_is_exit_code_1_with_its_reason(server, reply, job, capsys):
    failed = job(status="failed", error={"code": "parity_failed", "message": "It differs.", "operator": "/conv1"})
    server.json("POST", JOBS, job(), status=201)
    server.reply("GET", f"{JOBS}/{job()['id']}/events", reply(200, b"event: failed\ndata: {}\n\n", STREAM))
    server.json("GET", f"{JOBS}/{job()['id']}", failed)
    assert main(["export", "t1", "-w"]) == 1
    out = capsys.readouterr().out
    assert "It differs. [parity_failed]" in out
    assert "/conv1" in out


def test_a_local_checkpoint_is_uploaded_and_registered(server, reply, job, tmp_path, capsys):
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes(b"weights")
    training = {
        "id": job()["training_job_id"],
        "framework": "ultralytics",
        "task_type": "object_detection",
        "model_name": "yolo11n",
        "checkpoint_path": "s3://b/k",
    }
    server.json("POST", "/api/v1/uploads", {"uri": "s3://b/k", "upload_url": f"{server.url}/put"}, status=201)
    server.reply("PUT", "/put", reply(200))
    server.json("POST", "/api/v1/training", training, status=201)
    server.json("POST", JOBS, job(), status=201)
    server.json("GET", f"{JOBS}/{job()['id']}", job())
    what = ["--framework", "ultralytics", "--task", "object_detection", "--model-name", "yolo11n"]
    assert main(["export", str(checkpoint), *what]) == 0
    assert server.of("POST", JOBS)[0].json()["training_job_id"] == training["id"]
    assert "registered as training" in capsys.readouterr().err


def test_a_local_checkpoint_needs_its_framework(tmp_path, capsys):
    (tmp_path / "a.pt").write_bytes(b"x")
    assert main(["export", str(tmp_path / "a.pt")]) == 2
    assert "--framework" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["export"],
        ["export", "t", "--format", "pickle"],
        ["export", "t", "--set", "x"],
        ["exports", "-n", "0"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments):
    assert main(arguments) == 2


def test_a_refusal_is_exit_code_1_with_sentence_and_hint(server, capsys):
    problem = {"code": "unsupported", "detail": "export_format: not in this release.", "hint": "What works: onnx."}
    server.json("POST", JOBS, problem, status=422)
    assert main(["export", "t1", "-f", "coreml"]) == 1
    err = capsys.readouterr().err
    assert "Error: export_format: not in this release. [unsupported]" in err
    assert "Hint: What works: onnx." in err


def test_no_server_is_exit_code_3(monkeypatch, capsys):
    monkeypatch.setenv("MODELPORT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("modelport.transport.BACKOFF_S", 0.0)
    assert main(["exports"]) == 3
    assert "cannot be reached" in capsys.readouterr().err


def test_no_token_is_exit_code_2(monkeypatch, capsys):
    monkeypatch.delenv("MODELPORT_TOKEN")
    assert main(["exports"]) == 2
    assert "MODELPORT_TOKEN" in capsys.readouterr().err


def test_infer_prints_and_draws(server, tmp_path, capsys):
    picture, drawn = tmp_path / "a.png", tmp_path / "out" / "b.png"
    Image.new("RGB", (40, 30), "white").save(picture)
    found = [{"class": "cat", "class_id": 0, "confidence": 0.9, "bbox": [5, 6, 30, 25]}]
    server.json("POST", "/v1/infer/d1", {"predictions": found, "latency_ms": 3.5, "model_version": "v1"})
    assert main(["infer", "d1", str(picture), "--key", "pk_k", "-o", str(drawn)]) == 0
    assert "cat" in capsys.readouterr().out
    with Image.open(drawn) as image:
        assert image.getpixel((30, 20)) != (255, 255, 255)


def test_delete_asks_first(server, reply, capsys):
    server.reply("DELETE", "/api/v1/deployments/d1", reply(204))
    assert main(["delete", "d1", "--yes"]) == 0
    assert len(server.of("DELETE", "/api/v1/deployments/d1")) == 1


@pytest.mark.parametrize("command", ["cancel", "set-default"])
def test_job_commands(server, job, command, capsys):
    server.json("POST", f"{JOBS}/j1/cancel", job(status="cancelled"))
    server.json("POST", "/api/v1/export/j1/set-default", job(is_default=True))
    assert main([command, "j1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == job()["id"]


def test_capabilities_of_every_framework(server, capsys):
    cell = {"supported": False, "quality": "none", "native": False, "preprocessing_embedded": False, "reason": "no"}
    answer = {
        "framework": "timm",
        "formats": {"coreml": cell},
        "live": {"coreml": {"available": False, "reason": "why"}},
    }
    server.json("GET", "/api/v1/export/capabilities", answer)
    assert main(["capabilities"]) == 0
    assert [asked.query["framework"] for asked in server.asked] == [["ultralytics"], ["timm"], ["huggingface"]]
    assert "coreml" in capsys.readouterr().out


def test_users_create(server, job, capsys):
    server.json("POST", "/api/v1/users", {"id": job()["id"], "token": "mp_new"}, status=201)
    assert main(["users", "create", "ann", "--tier", "pro"]) == 0
    assert "mp_new" in capsys.readouterr().out
    assert server.asked[0].json() == {"name": "ann", "tier": "pro"}


def test_ids_are_never_cut(server, job, capsys):
    server.json("GET", JOBS, {"items": [job(version_tag="a-rather-long-name-of-a-version")]})
    assert main(["exports"]) == 0
    out = capsys.readouterr().out
    assert job()["id"] in out
    assert len(out.splitlines()) == 2


def test_words_of_a_checkpoint_are_shown_and_not_obeyed(server, reply, job, capsys):
    """An escape sequence would rewrite the terminal, square brackets would be taken for colours or be an error."""
    hostile = "\x1b]0;owned\x07\x9b2J\u202e[/model/Conv] [red]x[/red]"
    error = {"code": "parity_failed", "message": hostile, "operator": hostile}
    failed = job(status="failed", version_tag=hostile, error=error)
    path = f"{JOBS}/{failed['id']}"
    event = json.dumps({"stage": "convert", "progress_percent": 40, "message": hostile})
    story = f"id: 1\nevent: progressed\ndata: {event}\n\nid: 2\nevent: failed\ndata: {{}}\n\n"
    server.json("GET", path, failed)
    server.json("POST", JOBS, job(), status=201)
    server.json("GET", JOBS, {"items": [failed], "next_cursor": None, "has_more": False})
    server.reply("GET", f"{path}/events", reply(200, story.encode(), STREAM))
    server.reply("GET", f"{path}/log", reply(200, f"one\n{hostile}\n\tthree\n".encode()))
    for command in (["export", "t1", "--wait"], ["exports"], ["log", failed["id"]]):
        main(command)
        out, err = capsys.readouterr()
        for sign in "\x1b\x07\x9b\u202e":
            assert sign not in out + err
        assert "[/model/Conv] [red]x[/red]" in out + err


def test_progress_on_a_terminal_takes_no_commands(server, job):
    import io

    from rich.console import Console

    from modelport.cli.progress import follow_job
    from modelport.exports import JobState

    class Exports:
        def wait(self, job_id, show):
            show(JobState(stage="convert", progress_percent=1, message="\x1b[2J\x1b]0;owned\x07[/model/Conv]"))
            return job()

    class Client:
        exports = Exports()

    out = io.StringIO()
    follow_job(Console(file=out, force_terminal=True), Client(), type("Job", (), {"id": "j1"})())
    assert "[/model/Conv]" in out.getvalue()
    assert "\x1b]0" not in out.getvalue()
    assert "\x1b[2J" not in out.getvalue().replace("\x1b[2K", "")


def test_dead_letters_are_listed_with_their_reason_and_replayed(server, job, capsys):
    letter = {
        "sequence": 7,
        "consumer": "export-worker-onnx",
        "code": "worker_lost",
        "reason": "the worker died in each of 5 attempts",
        "subject": "export.jobs.requested.v1.onnx",
        "failed_at": "2026-11-23T09:00:00Z",
    }
    server.json("GET", "/api/v1/dead-letters", {"items": [letter], "has_more": False, "next_cursor": None})
    assert main(["dead-letters", "list"]) == 0
    out = capsys.readouterr().out
    assert "7" in out
    assert "worker_lost" in out
    assert "died in each of 5 attempts" in out
    done = {"sequence": 7, "action": "job_requested", "subject": letter["subject"], "job_id": job()["id"]}
    server.json("POST", "/api/v1/dead-letters/7/replay", done, status=202)
    assert main(["dead-letters", "replay", "7"]) == 0
    out = capsys.readouterr().out
    assert "job requested" in out
    assert job()["id"] in out
    assert "idempotency-key" in server.of("POST", "/api/v1/dead-letters/7/replay")[0].headers


def test_a_dead_letter_that_cannot_be_replayed_says_why(server, capsys):
    problem = {"code": "conflict", "detail": "The export is completed; only a failed one can be requested again."}
    server.json("POST", "/api/v1/dead-letters/8/replay", problem, status=409)
    assert main(["dead-letters", "replay", "8"]) == 1
    assert "only a failed one" in capsys.readouterr().err
    assert main(["dead-letters", "replay", "0"]) == 2
