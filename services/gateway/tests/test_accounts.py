"""Users, tiers and tokens."""

from uuid import UUID, uuid4

import pytest

from contracts import credentials
from contracts.errors import Permanent
from gateway.accounts import BOOTSTRAP_USER, ensure_bootstrap
from gateway.testing.outside import Client, Gateway

pytestmark = pytest.mark.integration
PATH = "/api/v1/users"


async def test_an_administrator_makes_users_and_their_tokens(gateway: Gateway) -> None:
    made = await gateway.admin.post(PATH, {"name": "Ada", "tier": "pro"})
    assert credentials.is_well_formed(made["token"], "mp")
    ada = Client(gateway.http, made["token"])
    me = await ada.get(f"{PATH}/me")
    assert (me["id"], me["name"], me["tier"], me["scopes"]) == (made["id"], "Ada", "pro", ["read", "write"])
    assert (await gateway.admin.get(f"{PATH}/{made['id']}"))["name"] == "Ada"
    assert [user["name"] for user in (await gateway.admin.get(f"{PATH}?limit=1"))["items"]] == ["Ada"]

    token = await gateway.admin.post(f"{PATH}/{made['id']}/tokens", {"scopes": ["read", "read"], "name": "ci"})
    assert (token["scopes"], token["name"]) == (["read"], "ci")
    reader = Client(gateway.http, token["token"])
    assert (await reader.get(f"{PATH}/me"))["scopes"] == ["read"]
    listed = (await gateway.admin.get(f"{PATH}/{made['id']}/tokens"))["items"]
    assert [entry["name"] for entry in listed] == ["ci", "first"]
    assert all("token" not in entry and entry["prefix"].startswith("mp_") for entry in listed)

    path = f"{PATH}/{made['id']}/tokens/{token['id']}"
    assert (await gateway.admin.send("DELETE", path)).status_code == 204
    assert await reader.refusal("GET", f"{PATH}/me") == (401, "unauthenticated")
    assert (await ada.get(f"{PATH}/me"))["id"] == made["id"]
    assert (await gateway.admin.send("DELETE", path)).status_code == 204
    listed = (await gateway.admin.get(f"{PATH}/{made['id']}/tokens"))["items"]
    assert [entry["revoked_at"] is not None for entry in listed] == [True, False]


async def test_unknown_users_and_tokens_are_not_found(gateway: Gateway) -> None:
    me = await gateway.admin.get(f"{PATH}/me")
    nobody = uuid4()
    for method, path, body in (
        ("GET", f"{PATH}/{nobody}", None),
        ("PATCH", f"{PATH}/{nobody}", {"tier": "free"}),
        ("GET", f"{PATH}/{nobody}/tokens", None),
        ("POST", f"{PATH}/{nobody}/tokens", {"scopes": ["read"]}),
        ("DELETE", f"{PATH}/{nobody}/tokens/{uuid4()}", None),
        ("DELETE", f"{PATH}/{me['id']}/tokens/{uuid4()}", None),
    ):
        assert await gateway.admin.refusal(method, path, body) == (404, "not_found")


async def test_the_bootstrap_administrator_is_there_after_every_start(gateway: Gateway) -> None:
    me = await gateway.admin.get(f"{PATH}/me")
    assert (UUID(me["id"]), me["tier"]) == (BOOTSTRAP_USER, "enterprise")
    assert me["scopes"] == ["admin", "read", "write"]
    settings, pool = gateway.parts.settings, gateway.parts.pool
    await ensure_bootstrap(pool, settings.bootstrap_token, settings.key_pepper)
    assert await gateway.admin.get(f"{PATH}/me") == me
    other = credentials.mint("mp")
    await ensure_bootstrap(pool, other, settings.key_pepper)
    assert (await Client(gateway.http, other).get(f"{PATH}/me"))["id"] == me["id"]
    assert await gateway.admin.refusal("GET", f"{PATH}/me") == (401, "unauthenticated")
    with pytest.raises(Permanent, match="MODELPORT_BOOTSTRAP_TOKEN"):
        await ensure_bootstrap(pool, "admin", settings.key_pepper)
