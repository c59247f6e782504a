"""One loaded model as the data plane needs it: its pipeline and the unchanging part of its requests to Triton."""

import msgspec
from msgspec import Struct

from contracts.events.deployment import DeploymentActivatedV1
from inference_proxy.tensors import RequestTemplate
from processing.pipeline import Pipeline


class ServedModel(Struct, frozen=True, kw_only=True):
    """`traceparent` is the deployment's own trace; `version` counts the model's versions from 1."""

    name: str
    version: int
    pipeline: Pipeline
    template: RequestTemplate
    traceparent: str = ""


def serve(fact: DeploymentActivatedV1, traceparent: str) -> ServedModel:
    """What answers the requests of an activated deployment; raises processing.errors.MetadataError."""
    metadata = fact.metadata
    return ServedModel(
        name=fact.triton_model,
        version=fact.model_version,
        pipeline=Pipeline.from_metadata(msgspec.to_builtins(metadata)),
        template=RequestTemplate(
            input_name=metadata.input_spec.name,
            outputs=tuple(spec.name for spec in metadata.output_spec.values()),
        ),
        traceparent=traceparent,
    )
