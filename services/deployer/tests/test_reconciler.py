"""The reconciler alone, between doubles of Triton and of the strategy."""

import time
from typing import Any

import pytest

from contracts import keys
from contracts.errors import Permanent
from contracts.events.deployment import DeploymentRequestedV1
from contracts.vocabulary import DesiredState
from deployer.desired import Desired
from deployer.reconciler import Reconciler
from servicekit.telemetry import Telemetry


class Triton:
    """Remembers what is loaded."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    async def loaded(self) -> set[str]:
        return set(self.names)

    async def unload(self, name: str) -> None:
        self.names.discard(name)


class Endpoint:
    """Loads into `triton`, or refuses."""

    def __init__(self, triton: Triton, *, broken: bool = False) -> None:
        self.triton = triton
        self.broken = broken
        self.calls = 0

    async def activate(self, request: DeploymentRequestedV1) -> None:
        self.calls += 1
        if self.broken:
            raise Permanent("deployment_failed", "broken")
        self.triton.names.add(keys.triton_model_name(request.deployment_id))


class Known(Desired):
    """`proven` are those given; `pending` are wanted, but were never announced."""

    def __init__(self, *proven: DeploymentRequestedV1, pending: tuple[DeploymentRequestedV1, ...] = ()) -> None:
        super().__init__()
        for one in (*proven, *pending):
            self.request(one)
        for one in proven:
            self._activated[one.deployment_id] = one.generation


@pytest.fixture
def reconcile(telemetry: Telemetry) -> Any:
    def make(desired: Desired, triton: Any, endpoint: Any, grace_s: float = 0.0) -> Reconciler:
        return Reconciler(desired, triton, endpoint, telemetry, every_s=1.0, stranger_grace_s=grace_s)

    return make


async def test_lost_models_come_back_and_strangers_go(reconcile: Any, request_for: Any) -> None:
    kept, lost = request_for(), request_for()
    names = {keys.triton_model_name(one.deployment_id) for one in (kept, lost)}
    triton = Triton(keys.triton_model_name(kept.deployment_id), "d-stranger", "somebody-elses")
    endpoint = Endpoint(triton)
    await reconcile(Known(kept, lost), triton, endpoint).once()
    assert triton.names == names | {"somebody-elses"}
    assert endpoint.calls == 1


async def test_models_of_which_no_request_tells_have_a_grace(
    reconcile: Any, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    off, again, stranger = request_for(desired=DesiredState.INACTIVE), request_for(), request_for()
    kept = {keys.triton_model_name(one.deployment_id) for one in (again, stranger)}
    triton = Triton(*kept, keys.triton_model_name(off.deployment_id))
    desired = Known(pending=(off,))
    reconciler = reconcile(desired, triton, Endpoint(triton), grace_s=60.0)
    for moment in (0.0, 59.0):
        now = moment
        await reconciler.once()
        assert triton.names == kept
    desired.request(again)
    now = 60.0
    await reconciler.once()
    assert triton.names == {keys.triton_model_name(again.deployment_id)}


async def test_what_is_being_deployed_now_is_left_to_the_one_who_does_it(reconcile: Any, request_for: Any) -> None:
    pending = request_for()
    name = keys.triton_model_name(pending.deployment_id)
    triton = Triton(name)
    endpoint = Endpoint(triton)
    reconciler = reconcile(Known(pending=(pending,)), triton, endpoint)
    await reconciler.once()
    assert triton.names == {name}
    triton.names.clear()
    await reconciler.once()
    assert not endpoint.calls


async def test_model_that_does_not_load_again_is_not_tried_at_every_turn(reconcile: Any, request_for: Any) -> None:
    triton = Triton()
    endpoint = Endpoint(triton, broken=True)
    reconciler = reconcile(Known(request_for()), triton, endpoint)
    for _ in range(5):
        await reconciler.once()
    assert endpoint.calls == 1
