"""Event streams: the parser against the specification's cases, the follower against broken connections."""

import pytest

from modelport import sse
from modelport.errors import ApiError, UnreachableError
from modelport.transport import Transport

STREAM = {"Content-Type": "text/event-stream"}


def parsed(text):
    return [(event.id, event.event, event.data) for event in sse.parse(text.split("\n"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: a\n\n", [("", "message", "a")]),
        ("data:a\ndata: b\n\n", [("", "message", "a\nb")]),
        ("id: 3\nevent: progressed\ndata: {}\n\n", [("3", "progressed", "{}")]),
        (": heartbeat\n\ndata: a\n\n", [("", "message", "a")]),
        ("id: 1\ndata: a\n\ndata: b\n\n", [("1", "message", "a"), ("1", "message", "b")]),
        ("event: x\n\ndata: a\n\n", [("", "message", "a")]),
        ("data: cut off", []),
    ],
)
def test_parse(text, expected):
    assert parsed(text) == expected


def follow(server, sleeps, **options):
    transport = Transport(server.url, "t", attempts=1)
    return sse.follow(transport, "/events", lambda e: e.event == "completed", sleep=sleeps.append, **options)


def test_a_broken_stream_goes_on_after_the_last_event(server, sleeps, reply):
    server.reply(
        "GET",
        "/events",
        reply(200, b"id: 1\ndata: {}\n\nid: 2\ndata: {}\n\nid: 3\nda", STREAM),
        reply(503, b"{}"),
        reply(200, b"id: 3\nevent: completed\ndata: {}\n\n", STREAM),
    )
    assert [event.id for event in follow(server, sleeps)] == ["1", "2", "3"]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "2", "2"]


def test_a_stream_that_never_says_more_is_given_up(server, sleeps, reply):
    server.reply("GET", "/events", reply(200, b": nothing\n\n", STREAM))
    with pytest.raises(UnreachableError, match="keeps ending"):
        list(follow(server, sleeps, reconnects=2))
    assert len(server.asked) == 3


def test_a_refusal_is_final(server, sleeps, reply):
    server.reply("GET", "/events", reply(404, b'{"code": "not_found", "detail": "No."}'))
    with pytest.raises(ApiError, match="No"):
        list(follow(server, sleeps))
    assert len(server.asked) == 1
