"""One loaded model as the data plane needs it: its pipeline and the unchanging part of its requests to Triton."""

from math import prod

import msgspec
from msgspec import Struct

from contracts.events.deployment import DeploymentActivatedV1
from contracts.model_package import Preprocessing, TensorSpec
from inference_proxy.tensors import RequestTemplate
from processing.pipeline import Pipeline

FREE_ANSWER_BYTES = 24 << 20
"""Room for the outputs of a model that does not say how large they are."""
HEAD_BYTES = 64 << 10
LARGEST_ELEMENT = 8
COPIES = 3
"""Of a tensor that exist at once on its way into a request, and of an answer on its way out of one."""


MASKS_BYTES = 48 << 20
"""The run lengths of an answer, as objects and as JSON: `processing.masks.MAX_RUNS` bounds their number."""


class ServedModel(Struct, frozen=True, kw_only=True):
    """`traceparent` is the deployment's own trace; `version` counts the model's versions from 1.

    `answer_bytes` bounds an answer for one picture, `memory_bytes` what one request holds while the model is asked.
    """

    name: str
    version: int
    pipeline: Pipeline
    template: RequestTemplate
    traceparent: str = ""
    answer_bytes: int = FREE_ANSWER_BYTES
    memory_bytes: int = COPIES * FREE_ANSWER_BYTES

    @property
    def has_masks(self) -> bool:
        """Whether predictions cost what the picture's pixels cost, whatever the size of the model's answer."""
        return self.pipeline.post.traits.masks


def serve(fact: DeploymentActivatedV1, traceparent: str) -> ServedModel:
    """What answers the requests of an activated deployment; raises processing.errors.MetadataError."""
    metadata = fact.metadata
    pipeline = Pipeline.from_metadata(msgspec.to_builtins(metadata))
    answer_bytes = HEAD_BYTES + sum(_output_bytes(spec) for spec in metadata.output_spec.values())
    return ServedModel(
        name=fact.triton_model,
        version=fact.model_version,
        pipeline=pipeline,
        template=RequestTemplate(
            input_name=metadata.input_spec.name,
            outputs=tuple(spec.name for spec in metadata.output_spec.values()),
        ),
        traceparent=traceparent,
        answer_bytes=answer_bytes,
        memory_bytes=COPIES * (_input_bytes(metadata.preprocessing) + answer_bytes)
        + MASKS_BYTES * pipeline.post.traits.masks,
    )


def _input_bytes(preprocessing: Preprocessing) -> int:
    return prod(preprocessing.resize.size) * 3 * (4 if preprocessing.format.dtype == "float32" else 1)


def _output_bytes(spec: TensorSpec) -> int:
    """Of one picture's output; a batch axis that is free counts once."""
    sizes = spec.shape[1:] if spec.shape[:1] == (-1,) else spec.shape
    if min(sizes, default=1) < 0:
        return FREE_ANSWER_BYTES
    return prod(sizes) * LARGEST_ELEMENT
