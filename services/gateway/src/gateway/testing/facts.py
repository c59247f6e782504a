"""Facts as the worker, the packager, the deployer and the proxy state them."""

from datetime import UTC, datetime
from uuid import UUID

from msgspec import structs

from contracts import keys
from contracts.errors import ErrorInfo, Permanent
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentRequestedV1,
    ExportFailedV1,
    ExportProgressedV1,
    ExportRequestedV1,
    InferenceRecordedV1,
    ModelExportedV1,
    PackageBuiltV1,
)
from contracts.keys import ObjectRef
from contracts.model_package import (
    ModelClass,
    ModelInfo,
    ModelMetadata,
    Nms,
    Normalize,
    OutputFormat,
    ParitySummary,
    Postprocessing,
    Preprocessing,
    Provenance,
    Resize,
    Sizes,
    TensorFormat,
    TensorSpec,
    WrapperStatus,
)
from contracts.vocabulary import (
    Decoder,
    DeploymentStage,
    ExportFormat,
    ExportStage,
    Framework,
    Kernel,
    Proof,
    ResizeMethod,
    TaskType,
    WrapperLanguage,
    WrapperProof,
)
from gateway.export_job import Fact

SHA = "0" * 64
SIZE = 3 << 20
PROVEN = {WrapperLanguage.PYTHON: WrapperStatus(proof=WrapperProof.VERIFIED, detail="all 250 checks passed")}


def metadata(job_id: UUID, version: int = 1, proof: Proof = Proof.VERIFIED) -> ModelMetadata:
    """metadata.json of a small detector."""
    return ModelMetadata(
        model_info=ModelInfo(
            framework=Framework.ULTRALYTICS,
            task_type=TaskType.OBJECT_DETECTION,
            model_name="shapes",
            export_format=ExportFormat.ONNX,
            version=version,
        ),
        model_file="model.onnx",
        preprocessing=Preprocessing(
            resize=Resize(method=ResizeMethod.LETTERBOX, size=(96, 96), kernel=Kernel.CV2_LINEAR_U8),
            normalize=Normalize(embedded=True),
            format=TensorFormat(output_layout="NHWC", dtype="uint8"),
        ),
        postprocessing=Postprocessing(
            decoder=Decoder.YOLO_V8, nms=Nms(enabled=True), output_format=OutputFormat(bbox_format="xyxy")
        ),
        input_spec=TensorSpec(name="images", shape=(-1, 96, 96, 3), dtype="uint8", format="NHWC"),
        output_spec={"detection": TensorSpec(name="output0", shape=(-1, 7, 189), dtype="float32", format="cxcywh")},
        classes=(ModelClass(id=0, name="circle"),),
        parity=ParitySummary(
            proof=proof,
            inputs=32,
            non_square_inputs=16,
            outputs=(),
            predictions_source=10,
            predictions_matched=10,
            max_confidence_difference=0.0,
        ),
        provenance=Provenance(
            checkpoint_sha256=SHA, export_options={}, optimization={}, toolchain={"job": str(job_id)}
        ),
        sizes=Sizes(original_size_bytes=4 << 20, exported_size_bytes=SIZE, compression_ratio=1.333),
    )


class Worker:
    """States facts about one job as the export worker and the packager do."""

    def __init__(self, request: ExportRequestedV1, *, proof: Proof = Proof.VERIFIED) -> None:
        self.request = request
        self.proof = proof

    def progressed(self, attempt: int, stage: ExportStage, percent: float, message: str = "") -> ExportProgressedV1:
        return ExportProgressedV1(
            job_id=self.request.job_id,
            attempt=attempt,
            stage=stage,
            percent=percent,
            message=message or f"doing {stage}",
            worker_id=f"worker-{attempt}",
        )

    def exported(self, attempt: int) -> ModelExportedV1:
        request = self.request
        return ModelExportedV1(
            job_id=request.job_id,
            user_id=request.user_id,
            training_job_id=request.training_job_id,
            version=request.version,
            attempt=attempt,
            export_format=request.export_format,
            proof=self.proof,
            model=self._ref(attempt, "model.onnx", SIZE),
            parity_report=self._ref(attempt, keys.PARITY_REPORT),
            goldens=self._ref(attempt, keys.GOLDENS),
            log=self._ref(attempt, keys.LOG),
            metadata=metadata(request.job_id, request.version, self.proof),
        )

    def built(self, attempt: int) -> PackageBuiltV1:
        request = self.request
        return PackageBuiltV1(
            job_id=request.job_id,
            user_id=request.user_id,
            attempt=attempt,
            export_format=request.export_format,
            proof=self.proof,
            package=ObjectRef(key=keys.export_file(request.job_id, keys.PACKAGE), sha256=SHA, size_bytes=SIZE),
            model=ObjectRef(key=keys.export_file(request.job_id, "model.onnx"), sha256=SHA, size_bytes=SIZE),
            parity_report=self._ref(attempt, keys.PARITY_REPORT),
            metadata=structs.replace(metadata(request.job_id, request.version, self.proof), wrapper_proofs=PROVEN),
        )

    def failed(self, attempt: int, code: str = "conversion_failed", *, stage: str = "convert") -> ExportFailedV1:
        error = ErrorInfo.of(Permanent(code, "the converter met an operator it does not know"), stage=stage)
        return ExportFailedV1(job_id=self.request.job_id, attempt=attempt, error=error)

    def story(self, attempt: int = 1) -> list[Fact]:
        """A whole successful run."""
        return [
            self.progressed(attempt, ExportStage.FETCH, 5),
            self.progressed(attempt, ExportStage.CONVERT, 40),
            self.exported(attempt),
            self.built(attempt),
        ]

    def _ref(self, attempt: int, name: str, size: int = 10) -> ObjectRef:
        return ObjectRef(key=keys.attempt_file(self.request.job_id, attempt, name), sha256=SHA, size_bytes=size)


def progressed(request: DeploymentRequestedV1, stage: DeploymentStage, percent: float) -> DeploymentProgressedV1:
    """A packager on its way."""
    return DeploymentProgressedV1(
        deployment_id=request.deployment_id,
        generation=request.generation,
        stage=stage,
        percent=percent,
        message=f"doing {stage}",
    )


def packaged(request: DeploymentRequestedV1) -> DeploymentActivatedV1:
    """A packager's answer."""
    key = keys.deployed_package(request.deployment_type, request.deployment_id)
    return DeploymentActivatedV1(
        deployment_id=request.deployment_id,
        generation=request.generation,
        deployment_type=request.deployment_type,
        package=ObjectRef(key=key, sha256=SHA, size_bytes=SIZE),
        model_version=request.model_version,
        metadata=request.metadata,
        access=request.access,
    )


def activated(request: DeploymentRequestedV1) -> DeploymentActivatedV1:
    return DeploymentActivatedV1(
        deployment_id=request.deployment_id,
        generation=request.generation,
        deployment_type=request.deployment_type,
        triton_model=keys.triton_model_name(request.deployment_id),
        model_version=request.model_version,
        metadata=request.metadata,
        access=request.access,
        load_seconds=0.5,
    )


def deactivated(request: DeploymentRequestedV1) -> DeploymentDeactivatedV1:
    return DeploymentDeactivatedV1(deployment_id=request.deployment_id, generation=request.generation)


def deployment_failed(request: DeploymentRequestedV1) -> DeploymentFailedV1:
    error = ErrorInfo.of(Permanent("deployment_failed", "the server cannot read the model"))
    return DeploymentFailedV1(deployment_id=request.deployment_id, generation=request.generation, error=error)


def used(deployment_id: UUID, user_id: UUID, requests: int, milliseconds: float) -> InferenceRecordedV1:
    now = datetime.now(UTC)
    return InferenceRecordedV1(
        deployment_id=deployment_id,
        user_id=user_id,
        proxy_id="proxy-1",
        requests=requests,
        errors=1,
        inference_time_ms=milliseconds,
        first_request_at=now,
        last_request_at=now,
    )
