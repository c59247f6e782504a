"""Who may say what on the bus: the facts of each service, and what JetStream needs beside them."""

from msgspec import Struct

from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentScaledV1,
    Event,
    ExportFailedV1,
    ExportProgressedV1,
    InferenceRecordedV1,
    ModelExportedV1,
    PackageBuiltV1,
    PreflightAnsweredV1,
)
from contracts.subjects import DEAD_LETTERS, EVENTS, LEASES, STREAMS, WORKERS, base_subject

OPERATOR = "operator"
"""May do everything; other services of the platform, such as the training platform, use it or a user of their own."""
MACHINERY = ("$JS.API.>", "$JS.ACK.>", "$JS.FC.>")
COUNTERS = "minutes"
"""First token of the subjects of the proxies' counters."""


class Publisher(Struct, frozen=True, kw_only=True):
    """One service: the facts that it states, the KV buckets that it writes, and other subjects."""

    facts: tuple[type[Event], ...]
    buckets: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everything that the service may publish on, with NATS's wildcards."""
        facts = {f"{base_subject(fact)}{end}" for fact in self.facts for end in ("", ".>")}
        buckets = (f"$KV.{bucket}.>" for bucket in self.buckets)
        dead = next(stream.subjects for stream in STREAMS if stream.name == DEAD_LETTERS)
        return (*MACHINERY, *sorted(facts), *buckets, *dead, *self.others)


# the gateway restates whatever an administrator takes out of the dead letters
PUBLISHERS: dict[str, Publisher] = {
    "gateway": Publisher(facts=EVENTS, buckets=(LEASES, WORKERS)),
    "export-worker": Publisher(
        facts=(ExportProgressedV1, ModelExportedV1, ExportFailedV1, PreflightAnsweredV1), buckets=(LEASES, WORKERS)
    ),
    "packager": Publisher(
        buckets=(LEASES,),
        facts=(
            ExportProgressedV1,
            PackageBuiltV1,
            ExportFailedV1,
            DeploymentProgressedV1,
            DeploymentActivatedV1,
            DeploymentDeactivatedV1,
            DeploymentFailedV1,
        ),
    ),
    "deployer": Publisher(
        buckets=(LEASES,),
        facts=(DeploymentActivatedV1, DeploymentScaledV1, DeploymentDeactivatedV1, DeploymentFailedV1),
    ),
    "inference-proxy": Publisher(facts=(InferenceRecordedV1,), others=(f"{COUNTERS}.>",)),
}
