"""Facts and requests on the bus, one module per context; every struct is one subject, tag and golden file.

Requests forbid unknown fields, facts tolerate them. A new field needs a default; a breaking change is a new struct and subject.
"""

from contracts.events.deployment import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentRequestedV1,
    DeploymentScaledV1,
    DeploymentUpdatedV1,
)
from contracts.events.export import (
    ExportCancelledV1,
    ExportFailedV1,
    ExportProgressedV1,
    ExportRequestedV1,
    ModelExportedV1,
    PackageBuiltV1,
    PreflightAnsweredV1,
    PreflightRequestedV1,
)
from contracts.events.training import TrainingCompletedV1
from contracts.events.usage import InferenceRecordedV1

Event = (
    TrainingCompletedV1
    | ExportRequestedV1
    | ExportProgressedV1
    | ModelExportedV1
    | PackageBuiltV1
    | ExportFailedV1
    | ExportCancelledV1
    | PreflightRequestedV1
    | PreflightAnsweredV1
    | DeploymentRequestedV1
    | DeploymentActivatedV1
    | DeploymentProgressedV1
    | DeploymentScaledV1
    | DeploymentUpdatedV1
    | DeploymentDeactivatedV1
    | DeploymentFailedV1
    | InferenceRecordedV1
)

__all__ = [
    "DeploymentActivatedV1",
    "DeploymentDeactivatedV1",
    "DeploymentFailedV1",
    "DeploymentProgressedV1",
    "DeploymentRequestedV1",
    "DeploymentScaledV1",
    "DeploymentUpdatedV1",
    "Event",
    "ExportCancelledV1",
    "ExportFailedV1",
    "ExportProgressedV1",
    "ExportRequestedV1",
    "InferenceRecordedV1",
    "ModelExportedV1",
    "PackageBuiltV1",
    "PreflightAnsweredV1",
    "PreflightRequestedV1",
    "TrainingCompletedV1",
]
