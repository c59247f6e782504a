"""What a person sees of jobs that no live worker can take."""

import pytest

from modelport.cli.app import main

pytestmark = pytest.mark.usefixtures("environment")
JOBS = "/api/v1/export/jobs"


def test_what_a_job_waits_for_is_said_at_once_and_how_to_give_it_up(server, job, capsys):
    waiting = job(status="pending", waits_for="a worker with an NVIDIA GPU and TensorRT; w: no NVIDIA GPU")
    server.json("POST", JOBS, job(), status=201)
    server.json("GET", f"{JOBS}/{job()['id']}", waiting)
    assert main(["export", "t1", "-f", "tensorrt"]) == 0
    out, err = capsys.readouterr()
    assert "a worker with an NVIDIA GPU" in out
    said = " ".join(err.split())
    assert "waits for a worker with an NVIDIA GPU and TensorRT; w: no NVIDIA GPU" in said
    assert f"modelport cancel {job()['id']}" in said
    server.json("GET", JOBS, {"items": [waiting]})
    assert main(["exports"]) == 0
    assert "WAITS FOR" in (listed := capsys.readouterr().out)
    assert "NVIDIA" in listed


def test_capabilities_name_the_flavors_that_nobody_can_make_now(server, capsys):
    cell = {"supported": True, "quality": "good", "native": False, "preprocessing_embedded": True}
    live = {"available": True, "flavors": {"rtx": "", "tensorrt": "w: no NVIDIA GPU"}}
    answer = {"framework": "timm", "formats": {"tensorrt": cell}, "live": {"tensorrt": live}}
    server.json("GET", "/api/v1/export/capabilities", answer)
    assert main(["capabilities", "timm"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "flavor tensorrt: w: no NVIDIA GPU" in out
    assert "flavor rtx" not in out
