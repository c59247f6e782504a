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
from deployer.model_config import ModelConfig

CALL_S = 10.0
POLL_S = 0.1
CAUSE_CHARS = 500

_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
_PATH = re.compile(r"(?<![\w/])(?:\w+://\S+|~?(?:/[\w.@+-]+){2,}/?)")


class LoadRefused(Permanent):
    """Triton refused a model; `cause` is its reason without paths."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__("deployment_failed", message)
        self.cause = cause


class Triton:
    """One Triton in explicit control mode; raises Transient("unavailable") while it is away."""

    def __init__(self, grpc_url: str, *, load_timeout_s: float) -> None:
        self._client = InferenceServerClient(_authority(grpc_url))
        self._load_timeout_s = load_timeout_s

    async def close(self) -> None:
        await self._client.close()

    async def check(self) -> None:
        """For /readyz: Transient while Triton does not answer."""
        with _errors("Triton is not live"):
            if not await self._client.is_server_live(client_timeout=CALL_S):
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
        with _errors("Triton's statistics cannot be read"):
            answer = await self._client.get_inference_statistics(client_timeout=CALL_S)
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
def _errors(message: str) -> Iterator[None]:
    try:
        yield
    except InferenceServerException as error:
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
