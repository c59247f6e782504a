"""API keys: is this one of the route's? Malformed keys are refused without a look-up, digests compared in constant time."""

import hmac

from contracts import credentials
from contracts.errors import Permanent
from inference_proxy.routes import Route

SCHEME = "bearer"
NOBODY = "0" * 64


class KeyCheck:
    """Checks the Authorization header of a request; `pepper` is the secret under which digests are made."""

    def __init__(self, pepper: str) -> None:
        self._pepper = pepper

    def authenticate(self, authorization: str, route: Route | None) -> Route:
        """The route if the key is one of its keys.

        Raises the same Permanent("invalid_api_key") for an unknown deployment as for a wrong key, after the same work.
        """
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        if scheme.lower() != SCHEME or not credentials.is_well_formed(secret, credentials.API_KEY_PREFIX):
            raise _refused()
        digest = credentials.digest(secret, self._pepper)
        known = route.access.key_digests if route is not None else ()
        matches = [hmac.compare_digest(digest, candidate) for candidate in known or (NOBODY,)]
        if route is None or not any(matches):
            raise _refused()
        return route


def _refused() -> Permanent:
    return Permanent(
        "invalid_api_key",
        "The API key is missing or is not a key of this deployment.",
        headers={"WWW-Authenticate": 'Bearer realm="modelport"'},
    )
