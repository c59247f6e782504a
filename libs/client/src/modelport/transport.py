"""One HTTP exchange with a service: bearer token, typed answer, patient retries where a repetition is harmless."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar, cast

import httpx
import msgspec

from modelport.errors import ApiError, ClientError, UnreachableError, api_error

T = TypeVar("T")
REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
PATIENCE_S = 60.0
"""A Retry-After beyond this is the caller's business, not ours."""
BACKOFF_S = 0.25
IDEMPOTENCY_KEY = "Idempotency-Key"


class Transport:
    """Thread-safe; one per base address. `sleep` is a seam for tests."""

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        timeout_s: float = 30.0,
        attempts: int = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._attempts = attempts
        self._sleep = sleep
        self._http = httpx.Client(timeout=timeout_s, headers={"User-Agent": "modelport-python"}, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        body: object = None,
        content: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send and decode; raises ApiError, UnreachableError.

        Repeats GET, PUT, DELETE and whatever has an Idempotency-Key.
        """
        sent = {**self._auth(), **(headers or {})}
        if body is not None:
            content, sent["Content-Type"] = msgspec.json.encode(body), "application/json"
        request = self._http.build_request(
            method, self.base_url + path, params=query or None, content=content, headers=sent
        )
        repeatable = method in REPEATABLE or IDEMPOTENCY_KEY in sent
        response = self._exchange(request, repeatable=repeatable)
        return self._decode(response, answer)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """An answer that goes on for long, such as server-sent events; no read timeout but the server's heartbeat's."""
        timeout = httpx.Timeout(10.0, read=90.0)
        sent = {**self._auth(), **headers}
        try:
            with self._http.stream("GET", self.base_url + path, headers=sent, timeout=timeout) as response:
                if response.status_code >= 400:
                    raise api_error(response.status_code, response.read(), _retry_after(response))
                yield response
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _exchange(self, request: httpx.Request, *, repeatable: bool) -> httpx.Response:
        last = self._attempts if repeatable else 1
        for attempt in range(1, last + 1):
            try:
                response = self._http.send(request)
            except httpx.TransportError as error:
                if attempt == last:
                    raise self._unreachable(error) from error
                self._sleep(_backoff(attempt))
                continue
            if response.status_code < 400:
                return response
            problem = api_error(response.status_code, response.content, _retry_after(response))
            wait = _wait(problem, attempt)
            if wait is None or attempt == last:
                raise problem
            self._sleep(wait)
        raise AssertionError("every round returns, raises or goes on")

    def _decode(self, response: httpx.Response, answer: type[T]) -> T:
        if answer is bytes:
            return cast("T", response.content)
        if response.status_code == 204 or not response.content:
            return msgspec.convert(None, answer)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except msgspec.MsgspecError as error:
            raise ClientError(
                f"{self.base_url} sent an answer that this client does not understand: {error}",
                "Check that the address is a Modelport gateway and that both sides have the same version.",
            ) from error

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        reason = str(error) or type(error).__name__
        return UnreachableError(
            f"{self.base_url} cannot be reached: {reason}.",
            "Start the stack with `make up`, or give its address with --url or MODELPORT_URL.",
        )


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _wait(problem: ApiError, attempt: int) -> float | None:
    """Seconds until another try makes sense; None: it does not."""
    if problem.code == "idempotency_in_flight":
        return problem.retry_after or _backoff(attempt)
    if problem.status not in (429, 503):
        return None
    if problem.retry_after is None:
        return _backoff(attempt) if problem.status == 503 else None
    return problem.retry_after if problem.retry_after <= PATIENCE_S else None


def _backoff(attempt: int) -> float:
    return float(BACKOFF_S * 2 ** (attempt - 1))
