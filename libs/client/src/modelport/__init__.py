"""Python SDK of Modelport: `Client` speaks to the gateway and to the inference proxy; answers are typed."""

from modelport.client import Client
from modelport.errors import ApiError, ClientError, TransferError, UnreachableError

__all__ = ["ApiError", "Client", "ClientError", "TransferError", "UnreachableError"]
