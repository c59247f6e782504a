"""Files: whole or not at all."""

import hashlib
import zipfile

import pytest

from modelport import transfer
from modelport.errors import TransferError

BYTES = bytes(range(256)) * 9000
SHA256 = hashlib.sha256(BYTES).hexdigest()


def test_sha256_of(tmp_path):
    (tmp_path / "a").write_bytes(BYTES)
    assert transfer.sha256_of(tmp_path / "a") == SHA256


def test_put_streams_the_file_with_the_headers_of_the_ticket(server, reply, tmp_path):
    server.reply("PUT", "/x", reply(200))
    (tmp_path / "a").write_bytes(BYTES)
    seen = []
    transfer.put_file(f"{server.url}/x", {"x-amz-meta-a": "1"}, tmp_path / "a", lambda *step: seen.append(step))
    assert server.asked[0].body == BYTES
    assert server.asked[0].headers["content-length"] == str(len(BYTES))
    assert server.asked[0].headers["x-amz-meta-a"] == "1"
    assert seen[-1] == (len(BYTES), len(BYTES))


def test_put_is_repeated_where_the_store_is_at_fault(server, reply, tmp_path):
    server.reply("PUT", "/x", reply(500), reply(200))
    (tmp_path / "a").write_bytes(b"abc")
    transfer.put_file(f"{server.url}/x", {}, tmp_path / "a")
    assert [asked.body for asked in server.asked] == [b"abc", b"abc"]


def test_put_is_not_repeated_where_the_link_is_at_fault(server, reply, tmp_path):
    server.reply("PUT", "/x", reply(403))
    (tmp_path / "a").write_bytes(b"abc")
    with pytest.raises(TransferError, match="403"):
        transfer.put_file(f"{server.url}/x", {}, tmp_path / "a")
    assert len(server.asked) == 1


def test_get_writes_the_whole_file(server, reply, tmp_path):
    server.reply("GET", "/x", reply(200, BYTES))
    target = transfer.get_file(f"{server.url}/x", tmp_path / "in" / "b", SHA256)
    assert target.read_bytes() == BYTES
    assert [path.name for path in target.parent.iterdir()] == ["b"]


def test_get_tries_again_after_a_broken_connection(server, reply, tmp_path):
    server.reply("GET", "/x", reply(200, BYTES, cut=100), reply(200, BYTES))
    assert transfer.get_file(f"{server.url}/x", tmp_path / "b", SHA256).read_bytes() == BYTES


def test_get_leaves_nothing_of_a_file_with_another_digest(server, reply, tmp_path):
    server.reply("GET", "/x", reply(200, BYTES[:-1]))
    with pytest.raises(TransferError, match="SHA-256"):
        transfer.get_file(f"{server.url}/x", tmp_path / "b", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_get_keeps_the_old_file_when_the_new_one_fails(server, reply, tmp_path):
    (tmp_path / "b").write_bytes(b"old")
    server.reply("GET", "/x", reply(403))
    with pytest.raises(TransferError, match="403"):
        transfer.get_file(f"{server.url}/x", tmp_path / "b", SHA256)
    assert (tmp_path / "b").read_bytes() == b"old"


def test_a_folder_becomes_one_zip(tmp_path):
    folder = tmp_path / "vit-digits"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "weights").write_bytes(BYTES)
    with transfer.as_one_file(folder) as file:
        assert file.name == "vit-digits.zip"
        with zipfile.ZipFile(file) as opened:
            assert opened.namelist() == ["config.json", "sub/weights"]
            assert opened.read("sub/weights") == BYTES
    assert not file.exists()


def test_a_file_is_left_where_it_is(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    with transfer.as_one_file(tmp_path / "a.pt") as file:
        assert file == tmp_path / "a.pt"
    assert file.exists()
