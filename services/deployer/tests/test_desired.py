"""What should be: the latest generation wins in every order of the facts."""

import itertools
from typing import Any

from msgspec.structs import replace

from contracts import keys
from contracts.envelope import EventMeta
from contracts.events.deployment import DeploymentActivatedV1, DeploymentRequestedV1
from contracts.vocabulary import DeploymentType, DesiredState
from deployer.desired import Desired


def activated(request: DeploymentRequestedV1) -> DeploymentActivatedV1:
    return DeploymentActivatedV1(
        deployment_id=request.deployment_id,
        generation=request.generation,
        deployment_type=request.deployment_type,
        triton_model=keys.triton_model_name(request.deployment_id),
        model_version=1,
        metadata=request.metadata,
        access=request.access,
    )


async def fold(facts: Any) -> Desired:
    desired = Desired()
    nothing: Any = None
    meta: EventMeta = nothing
    for fact in facts:
        await desired.on_fact(fact, meta)
    return desired


async def test_every_order_of_facts_ends_in_the_same_place(request_for: Any) -> None:
    first = request_for()
    name = keys.triton_model_name(first.deployment_id)
    off = replace(first, generation=2, desired=DesiredState.INACTIVE)
    on = replace(first, generation=3)
    for order in itertools.permutations([first, activated(first), off, on]):
        desired = await fold(order)
        assert desired.wanted() == {name: on}
        assert desired.proven() == {}
    for order in itertools.permutations([first, activated(first), off, on, activated(on)]):
        assert (await fold(order)).proven() == {name: on}


async def test_what_is_off_or_deleted_is_not_wanted(request_for: Any) -> None:
    for state in (DesiredState.INACTIVE, DesiredState.DELETED):
        first = request_for()
        desired = await fold([first, activated(first), replace(first, generation=2, desired=state)])
        assert desired.wanted() == desired.proven() == {}


async def test_stale_is_what_a_later_generation_has_overtaken(request_for: Any) -> None:
    first = request_for(generation=1)
    second = replace(first, generation=2)
    desired = await fold([second])
    assert desired.is_stale(first)
    assert not desired.is_stale(second)
    assert not desired.is_stale(request_for())


async def test_other_deployment_types_concern_nobody_here(request_for: Any) -> None:
    for kind in DeploymentType:
        request = request_for(deployment_type=kind)
        desired = await fold([request, activated(request)])
        found = (len(desired.wanted()), len(desired.proven()), len(desired.unwanted()))
        assert found == ((1, 1, 0) if kind is DeploymentType.PLATFORM_ENDPOINT else (0, 0, 0))
