"""/api/v1/signing-keys: whose signatures packages carry."""

from collections.abc import Sequence

from litestar import get
from litestar.handlers import HTTPRouteHandler

from gateway.api.common import READ, Wired
from gateway.signing_keys import SigningKeys


@get("/api/v1/signing-keys", **READ)
async def list_signing_keys(parts: Wired) -> SigningKeys:
    """The public keys with which packages are and were signed, the current one first; none where they are not signed."""
    return parts.signing_keys


ROUTES: Sequence[HTTPRouteHandler] = (list_signing_keys,)
