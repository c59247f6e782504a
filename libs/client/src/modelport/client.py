"""The SDK: one object that speaks to the gateway, and to the inference proxy where its address is given.

Thread-safe and without an event loop of its own: inside asyncio call it through `asyncio.to_thread`.
"""

from types import TracebackType

from modelport.dead_letters import DeadLetters
from modelport.deployments import Deployments
from modelport.exports import Exports
from modelport.inference import Endpoint
from modelport.keys import Keys
from modelport.training import Training
from modelport.transport import Transport
from modelport.users import Users


class Client:
    """`Client(gateway_url, token).exports.create(…)`; the parts are named after the resources of the REST API."""

    def __init__(
        self, gateway_url: str, token: str, proxy_url: str | None = None, *, timeout_s: float = 30.0, attempts: int = 5
    ) -> None:
        self.transport = Transport(gateway_url, token, timeout_s=timeout_s, attempts=attempts)
        self.proxy_url = proxy_url
        self.training = Training(self.transport)
        self.exports = Exports(self.transport)
        self.deployments = Deployments(self.transport)
        self.users = Users(self.transport)
        self.keys = Keys(self.transport)
        self.dead_letters = DeadLetters(self.transport)
        self._timeout_s = timeout_s

    def endpoint(self, deployment_id: str, api_key: str, *, url: str = "") -> Endpoint:
        """Calls to a deployed model; `url` is the proxy's address where the client was made without one."""
        return Endpoint(url or self.proxy_url or "", deployment_id, api_key, timeout_s=self._timeout_s)

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
