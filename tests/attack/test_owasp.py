"""The OWASP API Security Top 10 of 2023, item by item: which tests hold each, and what is checked of it here."""

import ast
from pathlib import Path

import pytest

from tests.attack import matrix, wire
from tests.attack.wire import request

ROOT = Path(__file__).parents[2]
HERE, GATEWAY, PROXY = "tests/attack", "services/gateway/tests", "services/inference-proxy/tests"


def exists(file: str, *names: str) -> None:
    """These tests are there; one that was renamed or removed leaves its item without proof."""
    found = {
        node.name
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert set(names) <= found, f"{file} has lost {sorted(set(names) - found)}"


class TestApi1BrokenObjectLevelAuthorization:
    def test_every_route_with_an_id_is_tried_with_a_strangers(self) -> None:
        exists(f"{HERE}/test_tenants.py", "test_a_strangers_id_is_answered_like_a_guess")
        exists(f"{GATEWAY}/test_tenants.py", "test_a_strangers_id_costs_the_same_look_ups_as_a_guess")
        exists(f"{HERE}/test_presigned.py", "test_nobody_signs_or_reads_for_a_stranger")
        with_ids = {route.operation for route in matrix.routes() if "{" in route.path}
        assert with_ids <= {*matrix.OF_ONE_THING, *matrix.OF_ADMINISTRATORS}


class TestApi2BrokenAuthentication:
    def test_every_route_is_tried_with_every_wrong_token(self) -> None:
        exists(f"{HERE}/test_tenants.py", "test_no_route_opens_without_a_valid_token")
        exists(f"{HERE}/test_keys.py", "test_no_secret_is_found_anywhere")
        exists(f"{HERE}/test_revocation.py", "test_revoked_token_opens_nothing_once_the_answer_is_there")
        exists(f"{PROXY}/test_keys.py", "test_anything_else_is_refused_alike_for_known_and_unknown_deployments")


class TestApi3BrokenObjectPropertyLevelAuthorization:
    def test_fields_that_are_not_of_the_request_are_refused_by_name(self) -> None:
        exists(f"{GATEWAY}/test_bad_input.py", "test_fields_at_fault_are_named")

    @pytest.mark.integration
    @pytest.mark.attack
    def test_nobody_sets_what_is_not_his_to_set(self, gateway, thief, victim) -> None:
        headers = {"Authorization": f"Bearer {thief.token}"}
        extra = {"user_id": victim.ids["user_id"], "status": "completed", "tier": "enterprise", "is_default": True}
        for operation in (*matrix.MAKERS, "create_upload"):
            body = matrix.body_of(operation)
            for name, value in extra.items():
                answer = gateway.post(matrix.route(operation).path, json={**body, name: value}, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), (operation, name)


class TestApi4UnrestrictedResourceConsumption:
    def test_requests_streams_bodies_and_connections_are_bounded(self) -> None:
        exists(f"{GATEWAY}/test_limits.py", "test_exactly_the_limit_passes_in_each_minute")
        exists(f"{GATEWAY}/test_limits.py", "test_streams_are_counted_and_end_with_their_token")
        exists(f"{HERE}/test_slow_clients.py", "test_connections_held_open_shut_nobody_out")
        exists(f"{HERE}/test_odd_requests.py", "test_chunks_are_counted", "test_large_heads_are_refused")
        exists(f"{HERE}/test_quotas.py", "test_nothing_goes_beyond_a_limit_and_nothing_is_billed_twice_whatever_dies")


class TestApi5BrokenFunctionLevelAuthorization:
    def test_every_route_is_tried_with_every_other_scope(self) -> None:
        exists(f"{HERE}/test_tenants.py", "test_every_route_needs_its_scope", "test_administrators_alone_manage_users")


class TestApi6UnrestrictedAccessToSensitiveBusinessFlows:
    def test_exports_endpoints_and_predictions_are_limited_by_tier(self) -> None:
        exists(f"{HERE}/test_quotas.py", "test_minute_is_reached_exactly_by_all_proxies_together")
        exists(f"{GATEWAY}/test_idempotency.py", "test_many_at_once_make_one", "test_a_refusal_is_not_kept")


class TestApi7ServerSideRequestForgery:
    def test_addresses_are_never_followed(self) -> None:
        exists(f"{HERE}/test_urls.py", "test_no_entrance_takes_it", "test_the_running_platform_refuses_them_all")


class TestApi8SecurityMisconfiguration:
    @pytest.mark.integration
    @pytest.mark.attack
    @pytest.mark.parametrize("face", ["gateway_url", "proxy_url"])
    def test_answers_tell_nothing_of_the_inside(self, stack, face) -> None:
        url = getattr(stack.about, face)
        for sent in (
            request("GET", "/healthz", Origin="https://evil.example"),
            request("OPTIONS", "/api/v1/users", Origin="https://evil.example", Access_Control_Request_Method="GET"),
            request("GET", "/nothing"),
            request("TRACE", "/healthz", Cookie="secret=1"),
        ):
            said = wire.raw(url, sent)
            assert said.status < 500
            assert "access-control-allow-origin" not in said.headers, (
                "no page of elsewhere may read with a user's token"
            )
            assert "\nserver:" not in said.headers
            assert b"secret=1" not in said.body
            assert not [word for word in (b"Traceback", b"site-packages", b"uvicorn", b"litestar") if word in said.body]


class TestApi9ImproperInventoryManagement:
    def test_the_document_tells_every_route_and_each_has_a_row(self) -> None:
        exists(f"{HERE}/test_tenants.py", "test_the_matrix_knows_every_route_and_there_is_no_other")
        exists(f"{HERE}/test_openapi_fuzz.py", "test_the_gateway_answers_as_its_document_says")
        assert {route.operation for route in matrix.routes()} == matrix.known()


class TestApi10UnsafeConsumptionOfApis:
    def test_what_stores_and_servers_answer_is_not_believed(self) -> None:
        exists(f"{HERE}/test_triton_replay.py", "test_what_triton_says_stays_with_the_operator")
        exists(f"{GATEWAY}/test_traces.py", "test_a_store_that_fails_is_unavailable")
