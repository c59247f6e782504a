"""Triton's model control over gRPC: load with inline bytes, unload, what is loaded, one warm-up inference.

What Triton says is kept for the operator without the paths of its machine.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import grpc
import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from contracts.errors import Permanent, Transient
from contracts.model_config import ModelConfig
from servicekit.tasks import end

CALL_S, QUICK_CALL_S = 10.0, 5.0
POLL_S = 0.1
CAUSE_CHARS = 500

CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),
]
"""No limit of size, as the client's own default; back soon after an outage, where gRPC would wait for up to two minutes;
and a new channel has connections of its own, where gRPC would share those of the old one."""

_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
_PATH = re.compile(r"(?<![\w/])(?:\w+://\S+|~?(?:/[\w.@+-]+){2,}/?)")


class LoadRefused(Permanent):
    """Triton refused a model; `cause` is its reason without paths."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__("deployment_failed", message)
        self.cause = cause


class Unanswered(Transient):
    """A call ran out of time."""

    def __init__(self) -> None:
        super().__init__("unavailable", "Triton does not answer.")


class Triton:
    """One Triton in explicit control mode; raises Transient("unavailable") while it is away."""

    def __init__(self, grpc_url: str, *, load_timeout_s: float) -> None:
        self._authority = _authority(grpc_url)
        self._client = _connect(self._authority)
        self._load_timeout_s = load_timeout_s
        self._retiring: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await end(*self._retiring)
        await self._client.close()

    async def check(self) -> None:
        """For /readyz: Transient while Triton does not answer."""
        with self._quickly("Triton is not live"):
            if not await self._client.is_server_live(client_timeout=QUICK_CALL_S):
                raise Transient("unavailable", "Triton is not live.")

    async def wait_live(self, patience_s: float) -> None:
        """Return once Triton answers; Transient after `patience_s`."""
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                return await self.check()
            except Transient:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(POLL_S * 5)

    async def loaded(self) -> set[str]:
        """Names of the models that are ready.

        Read from the statistics: the repository index leaves out what was loaded from bytes.
        """
        with self._quickly("Triton's statistics cannot be read"):
            answer = await self._client.get_inference_statistics(client_timeout=QUICK_CALL_S)
        return {model.name for model in answer.model_stats}

    async def load(self, config: ModelConfig, files: Mapping[str, bytes]) -> None:
        """Load, or replace, a model from bytes; `files` maps `<version>/<file name>` to content.

        Raises LoadRefused with Triton's reason.
        """
        inline = {f"file:{path}": content for path, content in files.items()}
        with _errors("Triton could not load the model"):
            await self._client.load_model(
                config.name, config=config.to_json(), files=inline, client_timeout=self._load_timeout_s
            )
        with _errors("Triton loaded the model, but it is not ready"):
            if not await self._client.is_model_ready(config.name, client_timeout=CALL_S):
                raise LoadRefused("The model is not ready after loading.", "")

    async def warm_up(self, config: ModelConfig, shape: tuple[int, ...], dtype: str) -> None:
        """One inference with zeros, all outputs asked for; proves that the model runs and has the outputs announced."""
        tensor = InferInput(config.input[0].name, list(shape), np_to_triton_dtype(np.dtype(dtype)))
        tensor.set_data_from_numpy(np.zeros(shape, dtype))
        outputs = [InferRequestedOutput(output.name) for output in config.output]
        with _errors("The model failed its first inference"):
            await self._client.infer(config.name, [tensor], outputs=outputs, client_timeout=self._load_timeout_s)

    async def unload(self, name: str, patience_s: float = 30.0) -> None:
        """Unload and wait until the model has left memory; an unknown model is fine."""
        with _errors("Triton could not unload the model"):
            await self._client.unload_model(name, unload_dependents=True, client_timeout=CALL_S)
        deadline = asyncio.get_running_loop().time() + patience_s
        while name in await self.loaded():
            if asyncio.get_running_loop().time() > deadline:
                raise Transient("unavailable", "The model is still unloading.")
            await asyncio.sleep(POLL_S)

    @contextmanager
    def _quickly(self, message: str) -> Iterator[None]:
        """Like `_errors` for calls that Triton answers at once: without an answer the connection counts as dead.

        gRPC would go on using it for as long as nobody closes it.
        """
        used = self._client
        try:
            with _errors(message):
                yield
        except Unanswered:
            if used is self._client:  # of several calls that waited together the first one replaces it
                self._client = _connect(self._authority)
                task = asyncio.create_task(_retire(used, self._load_timeout_s))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
            raise


def _connect(authority: str) -> InferenceServerClient:
    return InferenceServerClient(authority, channel_args=CHANNEL)


async def _retire(client: InferenceServerClient, last_call_s: float) -> None:
    """Close a client when the last of its calls is over."""
    try:
        await asyncio.sleep(last_call_s)
    finally:
        await client.close()


@contextmanager
def _errors(message: str) -> Iterator[None]:
    try:
        yield
    except InferenceServerException as error:
        if _status(error) is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise Unanswered from error
        if _status(error) in _AWAY:
            raise Transient("unavailable", "Triton does not answer.") from error
        raise LoadRefused(f"{message}.", without_paths(str(error.message()))) from error
    except grpc.RpcError as error:
        raise Transient("unavailable", "Triton does not answer.") from error


def _status(error: InferenceServerException) -> grpc.StatusCode | None:
    name = str(error.status()).removeprefix("StatusCode.")
    return getattr(grpc.StatusCode, name, None)


def without_paths(text: str) -> str:
    """One line, shortened, with file paths and addresses taken out."""
    return _PATH.sub("…", " ".join(text.split()))[:CAUSE_CHARS]


def _authority(url: str) -> str:
    """`host:port` of `grpc://host:port` or of the bare form."""
    return urlsplit(url).netloc if "://" in url else url
