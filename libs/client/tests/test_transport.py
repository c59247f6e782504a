"""Exchanges: what is repeated, how long is waited, what an answer that is no answer becomes."""

import msgspec
import pytest

from modelport.errors import ApiError, ClientError, UnreachableError
from modelport.transport import Transport


def transport(server, sleeps, **options):
    return Transport(server.url, "mp_secret", sleep=sleeps.append, **options)


def busy(reply, status=503, **headers):
    return reply(status, b'{"code": "unavailable", "detail": "Busy."}', headers)


def test_the_token_travels_as_bearer(server, sleeps):
    server.json("GET", "/a", {"x": 1})
    assert transport(server, sleeps).call("GET", "/a", dict[str, int]) == {"x": 1}
    assert server.asked[0].headers["authorization"] == "Bearer mp_secret"


def test_a_busy_server_is_asked_again_after_the_time_it_names(server, sleeps, reply):
    server.reply("GET", "/a", busy(reply, **{"Retry-After": "7"}), reply(200, b"1"))
    assert transport(server, sleeps).call("GET", "/a", int) == 1
    assert sleeps == [7.0]


def test_a_post_without_idempotency_key_is_never_repeated(server, sleeps, reply):
    server.reply("POST", "/a", busy(reply), reply(200, b"1"))
    with pytest.raises(ApiError) as caught:
        transport(server, sleeps).call("POST", "/a", int, body={})
    assert (caught.value.code, caught.value.status, len(server.asked)) == ("unavailable", 503, 1)


def test_a_post_with_idempotency_key_is_repeated_with_the_same_key(server, sleeps, reply):
    server.reply("POST", "/a", busy(reply), reply(200, b"1"))
    assert transport(server, sleeps).call("POST", "/a", int, body={}, headers={"Idempotency-Key": "k"}) == 1
    assert [asked.headers["idempotency-key"] for asked in server.asked] == ["k", "k"]


def test_an_idempotent_request_in_flight_is_waited_for(server, sleeps, reply):
    server.reply("POST", "/a", reply(409, b'{"code": "idempotency_in_flight", "detail": "Wait."}'), reply(200, b"1"))
    assert transport(server, sleeps).call("POST", "/a", int, body={}, headers={"Idempotency-Key": "k"}) == 1


@pytest.mark.parametrize(("status", "headers"), [(429, {}), (429, {"Retry-After": "90000"}), (500, {}), (422, {})])
def test_what_waiting_cannot_help_is_raised_at_once(server, sleeps, reply, status, headers):
    server.reply("GET", "/a", busy(reply, status, **headers))
    with pytest.raises(ApiError) as caught:
        transport(server, sleeps).call("GET", "/a", int)
    assert (caught.value.status, sleeps, len(server.asked)) == (status, [], 1)


def test_a_server_that_stays_busy_is_given_up(server, sleeps, reply):
    server.reply("GET", "/a", busy(reply))
    with pytest.raises(ApiError, match="Busy"):
        transport(server, sleeps, attempts=3).call("GET", "/a", int)
    assert len(server.asked) == 3


def test_a_problem_becomes_an_error_with_code_hint_and_fields(server, sleeps, reply):
    body = {"code": "unsupported", "detail": "No.", "hint": "Try onnx.", "errors": [{"field": "f", "message": "m"}]}
    server.json("POST", "/a", body, status=422)
    with pytest.raises(ApiError) as caught:
        transport(server, sleeps).call("POST", "/a", int, body={})
    error = caught.value
    assert (str(error), error.code, error.hint, error.fields[0].field) == ("No.", "unsupported", "Try onnx.", "f")


def test_a_known_code_without_hint_gets_the_common_one(server, sleeps, reply):
    server.json("GET", "/a", {"code": "not_found", "detail": "No."}, status=404)
    with pytest.raises(ApiError) as caught:
        transport(server, sleeps).call("GET", "/a", int)
    assert "Check the id" in caught.value.hint


def test_an_answer_of_something_in_between_is_understood(server, sleeps, reply):
    server.reply("GET", "/a", reply(502, b"<html>Bad gateway</html>"))
    with pytest.raises(ApiError, match="Bad gateway") as caught:
        transport(server, sleeps).call("GET", "/a", int)
    assert caught.value.code == "http_502"


def test_an_answer_of_another_shape_is_not_an_attribute_error_later(server, sleeps, reply):
    server.reply("GET", "/a", reply(200, b"<html>hello</html>"))
    with pytest.raises(ClientError, match="does not understand"):
        transport(server, sleeps).call("GET", "/a", int)


def test_nobody_there(sleeps):
    with pytest.raises(UnreachableError, match="cannot be reached") as caught:
        Transport("http://127.0.0.1:9", sleep=sleeps.append, attempts=3).call("GET", "/a", int)
    assert "make up" in caught.value.hint
    assert len(sleeps) == 2


def test_a_connection_that_breaks_is_tried_again(server, sleeps, reply):
    server.reply("GET", "/a", reply(200, b"[1, 2, 3]", cut=3), reply(200, b"[1]"))
    assert transport(server, sleeps).call("GET", "/a", list[int]) == [1]


def test_an_empty_answer_is_none(server, sleeps, reply):
    server.reply("DELETE", "/a", reply(204))
    assert transport(server, sleeps).call("DELETE", "/a", object) is None


def test_bodies_are_json(server, sleeps, reply):
    server.reply("POST", "/a", reply(200, b"1"))
    transport(server, sleeps).call("POST", "/a", int, body={"a": [1]})
    assert msgspec.json.decode(server.asked[0].body) == {"a": [1]}
