"""The table of routes: any order and any repetition of facts ends in the same place."""

import itertools
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from contracts.events.deployment import (
    Access,
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentUpdatedV1,
)
from contracts.vocabulary import DeploymentType, Tier
from inference_proxy.routes import Fact, RouteTable
from inference_proxy.served import ServedModel
from processing.errors import MetadataError


def load(fact: DeploymentActivatedV1, traceparent: str) -> ServedModel:
    """No pipeline is needed here."""
    nothing: Any = None
    return ServedModel(
        name=fact.triton_model, version=fact.model_version, pipeline=nothing, template=nothing, traceparent=traceparent
    )


def fold(facts: Any) -> RouteTable:
    table = RouteTable(load)
    for fact in facts:
        apply(table, fact)
    return table


def apply(table: RouteTable, fact: Fact) -> None:
    if isinstance(fact, DeploymentActivatedV1):
        table.put(fact)
    elif isinstance(fact, DeploymentUpdatedV1):
        table.update(fact)
    else:
        table.remove(fact)


@pytest.fixture
def first(kit: ModuleType) -> DeploymentActivatedV1:
    event: DeploymentActivatedV1 = kit.endpoint(Tier.FREE).event
    return event


def updated(first: DeploymentActivatedV1, generation: int, revision: int, *, keys: tuple[str, ...] = ("new",),
            serving: bool = True, tier: Tier = Tier.FREE) -> DeploymentUpdatedV1:  # fmt: skip
    access = Access(user_id=first.access.user_id, tier=tier, key_digests=keys)
    return DeploymentUpdatedV1(
        deployment_id=first.deployment_id, generation=generation, revision=revision, serving=serving, access=access
    )


def deactivated(first: DeploymentActivatedV1, generation: int, *, deleted: bool = False) -> DeploymentDeactivatedV1:
    return DeploymentDeactivatedV1(deployment_id=first.deployment_id, generation=generation, deleted=deleted)


def summary(table: RouteTable, first: DeploymentActivatedV1) -> Any:
    route = table.get(first.deployment_id)
    if route is None:
        return None
    return route.access.key_digests, route.access.tier, route.serving, route.model and route.model.version


def test_activation_makes_a_route(first: DeploymentActivatedV1) -> None:
    table = fold([first])
    assert summary(table, first) == (first.access.key_digests, Tier.FREE, True, 1)
    assert table.get(uuid4()) is None


def test_the_life_of_a_deployment_in_every_order(first: DeploymentActivatedV1) -> None:
    again = replace(first, generation=3, model_version=2, access=replace(first.access, key_digests=("third",)))
    facts = [
        first,
        updated(first, 1, 1),
        updated(first, 1, 2, keys=("newer",)),
        deactivated(first, 2),
        again,
        updated(first, 3, 3, keys=("last",), tier=Tier.PRO),
    ]
    for order in itertools.permutations(facts):
        assert summary(fold(order), first) == (("last",), Tier.PRO, True, 2)


def test_a_key_rotated_before_the_activation_is_announced_stays_rotated(first: DeploymentActivatedV1) -> None:
    for order in itertools.permutations([first, updated(first, 1, 1)]):
        assert summary(fold(order), first)[0] == ("new",)


def test_reactivation_serves_again_after_serving_was_switched_off(first: DeploymentActivatedV1) -> None:
    facts = [first, updated(first, 2, 1, serving=False), deactivated(first, 2), replace(first, generation=3)]
    for order in itertools.permutations(facts):
        assert summary(fold(order), first) == (first.access.key_digests, Tier.FREE, True, 1)


def test_switched_off_at_once_while_the_model_is_still_loaded(first: DeploymentActivatedV1) -> None:
    assert summary(fold([first, updated(first, 1, 1, serving=False)]), first)[2] is False


def test_lower_revision_never_overwrites_a_higher_one(first: DeploymentActivatedV1) -> None:
    table = fold([first, updated(first, 1, 2, keys=("two",)), updated(first, 1, 1, keys=("one",))])
    assert summary(table, first)[0] == ("two",)


def test_deactivated_keeps_the_keys_and_drops_the_model(first: DeploymentActivatedV1) -> None:
    table = fold([first, deactivated(first, 2)])
    assert summary(table, first) == (first.access.key_digests, Tier.FREE, True, None)


def test_deleted_is_for_ever_and_like_unknown(first: DeploymentActivatedV1) -> None:
    facts = [first, updated(first, 1, 1), deactivated(first, 2, deleted=True)]
    for order in itertools.permutations(facts):
        assert fold(order).get(first.deployment_id) is None
    assert fold([*facts, replace(first, generation=3)]).get(first.deployment_id) is None


def test_repeated_facts_change_nothing(first: DeploymentActivatedV1) -> None:
    facts = [first, updated(first, 1, 1), first, updated(first, 1, 1)]
    assert summary(fold(facts), first) == (("new",), Tier.FREE, True, 1)


def test_metadata_that_cannot_be_served_leaves_the_key_known(first: DeploymentActivatedV1) -> None:
    def refuse(_fact: DeploymentActivatedV1, _traceparent: str) -> ServedModel:
        raise MetadataError("schema_version", "is unknown")

    table = RouteTable(refuse)
    table.put(first)
    assert summary(table, first) == (first.access.key_digests, Tier.FREE, True, None)


@pytest.mark.parametrize("kind", [kind for kind in DeploymentType if kind is not DeploymentType.PLATFORM_ENDPOINT])
def test_what_is_no_endpoint_is_never_routed(first, kind):
    """Whatever a packager says of its deployments, and in whatever order."""
    package = replace(first, deployment_type=kind, triton_model="")
    off = DeploymentDeactivatedV1(deployment_id=first.deployment_id, generation=2, deleted=True)
    assert fold([package]).get(first.deployment_id) is None
    for facts in itertools.permutations([package, off, replace(package, generation=3)]):
        assert fold(facts).get(first.deployment_id) is None
    stopped = fold([package, replace(off, deleted=False)]).get(first.deployment_id)
    assert stopped is None or (stopped.model, stopped.serving, stopped.access.key_digests) == (None, False, ())
