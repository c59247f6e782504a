"""`modelport verify`, `keys` and `diff` as a user meets them."""

import json
import zipfile

import msgspec
import pytest

from contracts.model_package import GraphSummary
from modelport.cli.app import main
from modelport.packages import goldens, trust

from .packages import described, signer, zipped

KEYS = "/api/v1/signing-keys"
SOMEBODY = signer()

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A user who trusts nobody yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def published(*keys):
    items = [
        {"key_id": key.key_id, "curve": key.curve, "public_key": key.pem, "is_current": key is keys[0]} for key in keys
    ]
    return {"items": items}


@pytest.fixture
def package(tmp_path):
    return zipped(tmp_path, SOMEBODY)


@pytest.fixture
def saved(server, capsys):
    server.json("GET", KEYS, published(SOMEBODY.public_key))
    assert main(["keys", "--save"]) == 0
    capsys.readouterr()


def test_saved_keys_are_trusted_without_any_network(package, server, saved, capsys):
    server.close()
    assert main(["verify", str(package)]) == 0
    out = capsys.readouterr().out
    assert SOMEBODY.key_id in out
    assert "1 of 1 checks passed" in out
    assert "Everything that was checked is right." in out


def test_an_unknown_key_is_a_failure_that_says_so_and_a_given_one_is_trusted(package, tmp_path, capsys):
    assert main(["verify", str(package)]) == 1
    out = capsys.readouterr().out
    assert "which you do not trust" in out
    assert "modelport keys --save" in out
    (tmp_path / "key.pem").write_text(SOMEBODY.public_key.pem)
    assert main(["verify", str(package), "--key", str(tmp_path / "key.pem"), "--no-run"]) == 0
    (tmp_path / "other.pem").write_text(signer().public_key.pem)
    assert main(["verify", str(package), "--key", str(tmp_path / "other.pem")]) == 1


def test_a_key_given_is_trusted_instead_of_those_saved(package, saved, tmp_path):
    (tmp_path / "other.pem").write_text(signer().public_key.pem)
    assert main(["verify", str(package), "--key", str(tmp_path / "other.pem")]) == 1


def test_json_tells_each_check(package, saved, capsys):
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    assert main(["verify", str(package), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert "failed" in [check["outcome"] for check in told["checks"]]
    assert told["checks"][-1] == {
        "name": goldens.NAME,
        "outcome": "not_run",
        "detail": "because of the failure before",
        "hint": "",
    }


def test_what_could_not_be_run_is_no_success(saved, tmp_path, capsys):
    path = zipped(tmp_path, SOMEBODY, texts={goldens.REQUIREMENTS: b"no-such-runtime==1.0\n"})
    assert main(["verify", str(path)]) == 4
    out = capsys.readouterr().out
    assert "no-such-runtime==1.0" in out
    assert "not everything could be checked" in out
    assert main(["verify", str(path), "--no-run"]) == 0


def test_an_unsigned_package_is_called_unsigned(tmp_path, capsys):
    path = zipped(tmp_path, None)
    assert main(["verify", str(path)]) == 1
    assert "MODELPORT_SIGNING_KEY_FILE" in capsys.readouterr().out
    assert main(["verify", str(path), "--allow-unsigned"]) == 0
    assert "It is unsigned." in capsys.readouterr().out


def test_a_python_that_is_none_is_a_failure_with_a_hint(package, saved, capsys):
    assert main(["verify", str(package), "--run-in", "/no/such/python"]) == 1
    assert "--run-in" in capsys.readouterr().out


def test_keys_are_shown_and_saved_once(server, capsys, home):
    old, new = signer().public_key, signer().public_key
    server.json("GET", KEYS, published(new, old))
    assert main(["keys"]) == 0
    assert new.key_id in capsys.readouterr().out
    environ = {"XDG_CONFIG_HOME": str(home / "config")}
    assert trust.trusted((), environ) == ()
    assert main(["keys", "--save", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [key["key_id"] for key in json.loads(out)] == [new.key_id, old.key_id]
    assert "2 new" in err
    assert trust.trusted((), environ) == (new, old)


def test_a_gateway_that_does_not_sign_has_no_key_to_save(server, capsys):
    server.json("GET", KEYS, {"items": []})
    assert main(["keys"]) == 0
    assert "not signed" in capsys.readouterr().out
    assert main(["keys", "--save"]) == 1


def test_a_key_under_a_false_name_is_not_saved(server, capsys, home):
    told = published(SOMEBODY.public_key)
    told["items"][0]["key_id"] = "ab" * 32
    server.json("GET", KEYS, told)
    assert main(["keys", "--save"]) == 1
    assert "under another name" in capsys.readouterr().err


def test_differences_are_told_part_by_part(tmp_path, server, capsys):
    first = zipped(tmp_path, None, "first.zip", graph=GraphSummary(operators={"Conv": 3, "Relu": 2}, parameters=100))
    changed = {"graph": GraphSummary(operators={"Conv": 4}, parameters=150), "portability": "Linux alone"}
    second = zipped(tmp_path, None, "second.zip", **changed, texts={"README.md": b"another text"})
    assert main(["diff", str(first), str(second), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    found = {d["field"]: (d["part"], d["before"], d["after"]) for d in told["differences"]}
    assert found["graph.operators.Conv"] == ("graph", 3, 4)
    assert found["graph.operators.Relu"] == ("graph", 2, None)
    assert found["graph.parameters"] == ("graph", 100, 150)
    assert found["portability"] == ("model", "", "Linux alone")
    assert {field for field in found if field.startswith("files.")} == {
        "files.README.md.sha256",
        "files.README.md.size_bytes",
    }
    assert len(found) == 6
    assert main(["diff", str(first), str(second)]) == 1
    out = capsys.readouterr().out
    assert "+50.0 %" in out
    assert main(["diff", str(first), str(first)]) == 0
    assert "No differences." in capsys.readouterr().out


def test_a_job_is_compared_with_a_package_and_a_field_of_a_later_release_too(tmp_path, server, capsys):
    path = zipped(tmp_path, None)
    with zipfile.ZipFile(path) as opened:
        metadata = json.loads(opened.read("metadata.json"))
    server.json("GET", "/api/v1/export/jobs/j1/metadata", metadata | {"of_tomorrow": {"a": 1}})
    assert main(["diff", str(path), "j1", "--json"]) == 1
    [found] = json.loads(capsys.readouterr().out)["differences"]
    assert found == {"part": "other", "field": "of_tomorrow.a", "before": None, "after": 1}


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_what_cannot_be_compared_is_told_from_a_difference(content, tmp_path, capsys):
    (tmp_path / "broken.zip").write_bytes(content)
    assert main(["diff", str(tmp_path / "broken.zip"), "no-such-job"]) == 2
    assert "It is no zip" in capsys.readouterr().err


def test_two_of_the_same_kind_have_all_parts_in_common():
    from modelport.packages.diff import PARTS

    fields = {name.partition(".")[0] for names in PARTS.values() for name in names}
    assert set(msgspec.to_builtins(described())) - fields == {"schema_version"}
