"""Keys: what opens a route, and that a stranger learns nothing."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from contracts import credentials
from contracts.errors import ModelportError, Permanent
from contracts.events.deployment import Access
from contracts.vocabulary import Tier
from inference_proxy.keys import KeyCheck
from inference_proxy.routes import Route

PEPPER = "a pepper for tests"
KEY = credentials.mint("pk")
OTHER = credentials.mint("pk")


@pytest.fixture
def route() -> Route:
    digests = (credentials.digest(OTHER, PEPPER), credentials.digest(KEY, PEPPER))
    access = Access(user_id=uuid4(), tier=Tier.FREE, key_digests=digests)
    return Route(deployment_id=uuid4(), access=access)


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer  {KEY}", f"BEARER {OTHER} "])
def test_any_of_the_keys_opens(route: Route, header: str) -> None:
    assert KeyCheck(PEPPER).authenticate(header, route) is route


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Bearer mp{KEY[2:]}",
     f"Bearer {credentials.mint('pk')}", "Bearer pk_é", f"Bearer {KEY},{KEY}"],
)  # fmt: skip
def test_anything_else_is_refused_alike_for_known_and_unknown_deployments(route: Route, header: str) -> None:
    answers = [_refusal(header, one) for one in (route, None, Route(deployment_id=uuid4()))]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 401


def test_valid_key_on_an_unknown_deployment_is_refused() -> None:
    assert _refusal(f"Bearer {KEY}", None)[0] == 401


def test_key_under_another_pepper_is_refused(route: Route) -> None:
    with pytest.raises(Permanent):
        KeyCheck("another pepper").authenticate(f"Bearer {KEY}", route)


def test_malformed_key_is_refused_without_a_digest(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_digest(*_: Any) -> Iterator[str]:
        raise AssertionError("a digest was made")

    monkeypatch.setattr(credentials, "digest", no_digest)
    with pytest.raises(Permanent):
        KeyCheck(PEPPER).authenticate(f"Bearer {KEY[:-1]}!", route)


def _refusal(header: str, route: Route | None) -> tuple[int, str, str, dict[str, str]]:
    with pytest.raises(ModelportError) as caught:
        KeyCheck(PEPPER).authenticate(header, route)
    error = caught.value
    return error.status, error.message, error.hint, error.headers
