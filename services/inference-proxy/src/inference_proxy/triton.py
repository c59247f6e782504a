"""The one call to Triton: `POST /v2/models/<name that we mapped>/infer`, built by us, bounded in time and size.

What Triton says when it fails is logged for the operator and never shown: known attacks began with its error messages.
"""

import asyncio
import logging
from types import TracebackType
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Transient
from inference_proxy.served import ServedModel
from inference_proxy.tensors import HEADER_LENGTH, TensorError
from inference_proxy.upstream import AnswerError, ConnectError, Disconnected, Reply, Upstream

MAX_ANSWER_BYTES = 64 << 20
READY_BYTES = 64 << 10
CONNECT_S = 2.0
READY_S = 2.0
"""Less than `servicekit.health` gives a check: this one has to see its own end, to leave a dead link."""
_LOGGED_CHARS = 500
_LENGTH = HEADER_LENGTH.lower().encode()

_log = logging.getLogger(__name__)


class TritonClient:
    """Keep-alive connections to Triton's HTTP port; use as an async context manager."""

    def __init__(
        self, base_url: str, *, timeout_s: float, connections: int = 64, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._upstream = Upstream(base_url, size=connections, connect_timeout_s=min(timeout_s, CONNECT_S))
        self._timeout_s = timeout_s
        self._max_answer_bytes = max_answer_bytes

    async def __aenter__(self) -> "TritonClient":
        await self._upstream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._upstream.__aexit__(kind, error, tb)

    async def infer(self, model: ServedModel, tensor: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """The model's outputs for one input.

        Raises Transient: "timeout" (504), "unavailable" (503: not loaded, not reachable), "upstream_failed" (502).
        """
        described, raw = model.template.body(tensor)
        head = (
            f"POST {self._upstream.prefix}/v2/models/{quote(model.name, safe='')}/infer HTTP/1.1\r\n"
            f"Host: {self._upstream.authority}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {len(described) + len(raw)}\r\n{HEADER_LENGTH}: {len(described)}\r\n\r\n"
        )
        limit = min(model.answer_bytes, self._max_answer_bytes)
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._upstream.ask((head.encode("ascii") + described, raw), limit)
            if reply.status != 200:
                raise _refused(reply, model.name)
            return model.template.read(reply.body, _header_length(reply))
        except TimeoutError as error:
            self._upstream.forget()
            raise Transient("timeout", "The model did not answer in time.") from error
        except ConnectError as error:
            raise _unavailable("The inference server cannot be reached.") from error
        except Disconnected as error:
            raise _unavailable("The inference server is restarting.") from error
        except (AnswerError, TensorError) as error:
            _log.error("triton: %s: %s", model.name, error)
            raise Transient("upstream_failed", "The inference server gave no usable answer.") from error

    async def is_ready(self) -> bool:
        """Whether Triton answers at all."""
        request = f"GET {self._upstream.prefix}/v2/health/live HTTP/1.1\r\nHost: {self._upstream.authority}\r\n\r\n"
        try:
            async with asyncio.timeout(min(self._timeout_s, READY_S)):
                return (await self._upstream.ask((request.encode("ascii"),), READY_BYTES)).status == 200
        except asyncio.CancelledError:
            self._upstream.forget()  # whoever asked has waited long enough
            raise
        except TimeoutError:
            self._upstream.forget()
            return False
        except (OSError, AnswerError):
            return False


def _header_length(reply: Reply) -> int:
    length = reply.headers.get(_LENGTH, b"")
    if not length.isdigit() or len(length) > 18:
        raise TensorError(f"no {HEADER_LENGTH}")
    return int(length)


def _refused(reply: Reply, name: str) -> Transient:
    text = reply.body[:_LOGGED_CHARS].decode("utf-8", "replace")
    _log.error("triton: %s: HTTP %d: %s", name, reply.status, text)
    if reply.status in (404, 503) or (reply.status == 400 and "unknown model" in text):
        return _unavailable("The model is being loaded.")
    return Transient("upstream_failed", "The inference server could not run the model.")


def _unavailable(message: str) -> Transient:
    return Transient("unavailable", message, headers={"Retry-After": "2"})
