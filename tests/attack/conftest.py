"""What attacks on the two public faces need: a victim with one of everything, strangers, and bare HTTP."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from contracts import credentials
from contracts.vocabulary import Scope, Tier
from modelport import Client
from modelport.models import Deployment, ExportJob, TrainingJob
from tests.attack.fleet import MINUTE, NEVER, Fleet, running
from tests.stack import Person, Stack


@dataclass(frozen=True)
class Victim:
    """A tenant with one of everything, its ids by the names that paths give them, and the key of its endpoint."""

    person: Person
    training: TrainingJob
    job: ExportJob
    endpoint: Deployment
    api_key: str
    ids: dict[str, str]


@dataclass(frozen=True)
class Thief:
    """Another tenant: its bearer token, and bare HTTP to gateway and proxy."""

    person: Person
    token: str


@pytest.fixture(scope="session")
def victim(admin: Client, owner: Person, detector_training: TrainingJob, detector_export: ExportJob) -> Victim:
    endpoint, key = owner.deploy(detector_export)
    token = admin.users.create_token(owner.id, [Scope.READ])
    ids = {
        "training_job_id": str(detector_training.id),
        "job_id": str(detector_export.id),
        "deployment_id": str(endpoint.id),
        "user_id": owner.id,
        "token_id": str(token.id),
        "preflight_id": str(owner.client.exports.preflight(detector_training.id).preflight_id),
        "sequence": "7204113915203144",
    }
    return Victim(owner, detector_training, detector_export, endpoint, key, ids)


@pytest.fixture(scope="session")
def thief(stack: Stack, admin: Client) -> Iterator[Thief]:
    """An enterprise user with a token of every scope but admin."""
    user = admin.users.create("thief", "enterprise")
    with Client(stack.about.gateway_url, user.token, stack.about.proxy_url) as client:
        yield Thief(Person(str(user.id), client), user.token)


@pytest.fixture(scope="session")
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    """Bare HTTP to the gateway, without any token."""
    with httpx.Client(base_url=stack.about.gateway_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def proxy(stack: Stack) -> Iterator[httpx.Client]:
    """Bare HTTP to the inference proxy, without any key."""
    with httpx.Client(base_url=stack.about.proxy_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def scoped(admin: Client, thief: Thief) -> dict[str, str]:
    """Tokens of the thief with one scope each."""
    return {scope: admin.users.create_token(thief.person.id, [scope]).token for scope in Scope}


@pytest.fixture(scope="session")
def dead_tokens(admin: Client, thief: Thief, gateway: httpx.Client, until: Callable[..., None]) -> dict[str, str]:
    """What must not open anything, by what is wrong with it."""
    revoked = admin.users.create_token(thief.person.id, [*Scope])
    admin.users.revoke_token(thief.person.id, revoked.id)
    expired = admin.users.create_token(thief.person.id, [*Scope], expires_in_s=1)
    until(lambda: time.time() > expired.expires_at.timestamp() + 1, 60, "the token's life is over")
    good = thief.token
    return {
        "none": "",
        "junk": "Bearer junk",
        "unknown": f"Bearer {credentials.mint(credentials.USER_PREFIX)}",
        "an API key that is none": f"Bearer {credentials.mint(credentials.API_KEY_PREFIX)}",
        "a wrong last character": f"Bearer {good[:-1]}{'0' if good[-1] != '0' else '1'}",
        "another case": f"Bearer {good.swapcase()}",
        "another scheme": f"Basic {good}",
        "no scheme": good,
        "two tokens": f"Bearer {good}, Bearer {good}",
        "revoked": f"Bearer {revoked.token}",
        "expired": f"Bearer {expired.token}",
    }


@pytest.fixture(scope="package")
def month(trials: Callable[[int, int], int]) -> int:
    """The monthly limit of the fleet's tier `free`."""
    return trials(150, 3000)


@pytest.fixture(scope="package")
def fleet(tmp_path_factory: pytest.TempPathFactory, month: int) -> Iterator[Fleet]:
    """Three proxies; `free` has a limit a month, `pro` none that counts, `enterprise` one a minute."""
    limits = {Tier.FREE: (month, NEVER), Tier.PRO: (NEVER, NEVER), Tier.ENTERPRISE: (None, MINUTE)}
    with running(tmp_path_factory.mktemp("fleet"), limits, stale_after_s=5) as made:
        yield made
