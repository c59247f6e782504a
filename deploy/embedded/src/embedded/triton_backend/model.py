"""Triton Python backend named `onnxruntime`: a config.pbtxt written for the native backend serves unchanged.

Runs inside Triton's own environment (numpy 1), one process per model instance. One reply per request, always.
The model is a stranger's: its process has a limit of memory, of the bytes of an answer (they pass through memory that all models share)
and of the time of a run, after which the process ends and Triton starts another.
"""

import json
import os
import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

THREADS_PARAMETER = "intra_op_thread_count"
LIMITS = {"memory_limit_mib": 4096, "answer_limit_mib": 64, "run_limit_s": 60}
"""Used unless a parameter of that name says otherwise."""
MIB = 1 << 20
OVERDUE = 70


class TritonPythonModel:
    """One loaded model version; Triton calls the three methods below by name."""

    @staticmethod
    def auto_complete_config(config: Any) -> Any:
        """The deployer writes a full config.pbtxt: nothing to complete."""
        return config

    def initialize(self, args: dict[str, str]) -> None:
        """Load `<repository>/<version>/model.onnx`; threads from the parameter `intra_op_thread_count` (0 = all cores)."""
        config = json.loads(args["model_config"])
        filename = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / filename
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        limits = {name: int(parameters.get(name, default)) for name, default in LIMITS.items()}
        self.answer_bytes = limits["answer_limit_mib"] * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (limits["memory_limit_mib"] * MIB,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.began: float | None = time.monotonic()
        threading.Thread(target=self._watch, args=(limits["run_limit_s"],), daemon=True).start()
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(parameters.get(THREADS_PARAMETER, "0"))
        # threads that wait in a loop for their next piece of work take the cores from the other models (measured: half of all time)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.began = None
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        self.batched = config.get("max_batch_size", 0) > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run the requests that Triton's batcher handed over together, as one batch where the model has a batch axis."""
        try:
            feeds = [self._feed(request) for request in requests]
            if self.batched and len(feeds) > 1:
                return self._run_joined(feeds)
            return [self._reply(self._run(feed)) for feed in feeds]
        except Exception as error:  # Triton drops the whole batch, without a word to the clients, if this escapes
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))) for _ in requests]

    def _feed(self, request: Any) -> Feed:
        return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}

    def _run(self, feed: Feed) -> Sequence[Array]:
        self.began = time.monotonic()
        try:
            arrays: Sequence[Array] = self.session.run(self.outputs, feed)
            return arrays
        finally:
            self.began = None

    def _watch(self, limit_s: int) -> None:
        """Neither a load, which folds constants, nor a run can be interrupted inside an operator: the process ends instead."""
        while True:
            time.sleep(0.5)
            began = self.began
            if began is not None and time.monotonic() - began > limit_s:
                os._exit(OVERDUE)

    def _run_joined(self, feeds: list[Feed]) -> list[Any]:
        """Concatenate along the batch axis, run once, cut the outputs back into one reply per request."""
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in self.inputs}
        arrays, start, replies = self._run(joined), 0, []
        for feed in feeds:
            rows = feed[self.inputs[0]].shape[0]
            replies.append(self._reply([array[start : start + rows] for array in arrays]))
            start += rows
        return replies

    def _reply(self, arrays: Sequence[Array]) -> Any:
        size = sum(array.nbytes for array in arrays)
        if size > self.answer_bytes:
            raise ValueError(f"an answer of {size} bytes, {self.answer_bytes} are allowed")
        tensors = [pb_utils.Tensor(name, array) for name, array in zip(self.outputs, arrays, strict=True)]
        return pb_utils.InferenceResponse(tensors)
