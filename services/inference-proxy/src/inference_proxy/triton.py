"""The one call to Triton: `POST /v2/models/<name that we mapped>/infer`, built by us, bounded in time and size.

What Triton says when it fails is logged for the operator and never shown: known attacks began with its error messages.
"""

import logging
from types import TracebackType

import aiohttp
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Transient
from inference_proxy.served import ServedModel
from inference_proxy.tensors import HEADER_LENGTH, TensorError

MAX_ANSWER_BYTES = 64 << 20
POOL = 64
_LOGGED_CHARS = 500

_log = logging.getLogger(__name__)


class TritonClient:
    """Keep-alive connections to Triton's HTTP port; use as an async context manager."""

    def __init__(self, base_url: str, *, timeout_s: float, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, 2.0))
        self._max_answer_bytes = max_answer_bytes
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "TritonClient":
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=POOL, keepalive_timeout=30),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def infer(self, model: ServedModel, tensor: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """The model's outputs for one input.

        Raises Transient: "timeout" (504), "unavailable" (503: not loaded, not reachable), "upstream_failed" (502). A kept
        connection that the server has closed meanwhile is no failure: the call is repeated once.
        """
        head, raw = model.template.body(tensor)
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
        url = f"{self._base_url}/v2/models/{model.name}/infer"
        for may_repeat in (True, False):
            try:
                return await self._post(url, head + raw, headers, model)
            except TimeoutError as error:
                raise Transient("timeout", "The model did not answer in time.") from error
            except aiohttp.ClientConnectorError as error:
                raise _unavailable("The inference server cannot be reached.") from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if not may_repeat:
                    raise _unavailable("The inference server is restarting.") from error
            except (aiohttp.ClientError, TensorError, OSError) as error:
                _log.error("triton: %s: %s", model.name, error)
                raise Transient("upstream_failed", "The inference server gave no usable answer.") from error
        raise AssertionError("unreachable")

    async def _post(
        self, url: str, body: bytes, headers: dict[str, str], model: ServedModel
    ) -> dict[str, NDArray[np.generic]]:
        if self._session is None:
            raise RuntimeError("use TritonClient as an async context manager")
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            limit = min(model.answer_bytes, self._max_answer_bytes)
            content = await _bounded(answer.content, answer.content_length, limit)
            if answer.status != 200:
                raise _refused(answer.status, content, model.name)
            length = answer.headers.get(HEADER_LENGTH, "")
            if not length.isascii() or not length.isdigit():
                raise TensorError(f"no {HEADER_LENGTH}")
            return model.template.read(content, int(length))

    async def is_ready(self) -> bool:
        """Whether Triton answers at all."""
        if self._session is None:
            return False
        try:
            async with self._session.get(f"{self._base_url}/v2/health/live") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False


async def _bounded(stream: aiohttp.StreamReader, announced: int | None, limit: int) -> bytes:
    if announced is not None and announced > limit:
        raise TensorError(f"an answer of {announced} bytes, {limit} were expected")
    parts, total = [], 0
    async for part in stream.iter_any():
        total += len(part)
        if total > limit:
            raise TensorError(f"an answer of more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _refused(status: int, content: bytes, name: str) -> Transient:
    text = content[:_LOGGED_CHARS].decode("utf-8", "replace")
    _log.error("triton: %s: HTTP %d: %s", name, status, text)
    if status in (404, 503) or (status == 400 and "unknown model" in text):
        return _unavailable("The model is being loaded.")
    return Transient("upstream_failed", "The inference server could not run the model.")


def _unavailable(message: str) -> Transient:
    return Transient("unavailable", message, headers={"Retry-After": "2"})
