"""Writes `golden/<tag>.json` for events that have no golden file yet: `python libs/contracts/tests/write_golden.py`.

A golden file is never written twice: it is what an older service has put on the bus, and it must decode for ever.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from contracts import events as ev
from contracts import model_package as mp
from contracts import vocabulary as v
from contracts.deployment import PlatformEndpointConfig
from contracts.errors import ErrorInfo
from contracts.events.deployment import Access
from contracts.events.training import ExportWish
from contracts.export_options import CoreMlOptions, OnnxOptions
from contracts.keys import ObjectRef
from contracts.optimization import OptimizationConfig, StaticQuantization, StructuredPruning, ValidationConfig
from contracts.preflight import Forecast
from contracts.subjects import EVENTS, base_subject

GOLDEN = Path(__file__).parent / "golden"
JOB, USER, TRAINING, DEPLOYMENT, DATASET, PREFLIGHT = (
    UUID(int=0x8D5E1F3C_0000_4000_8000_000000000000 + n) for n in range(1, 7)
)
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def ref(name: str, size: int = 1024) -> ObjectRef:
    return ObjectRef(key=f"exports/{JOB}/{name}", sha256=SHA256, size_bytes=size)


METADATA = mp.ModelMetadata(
    model_info=mp.ModelInfo(
        framework=v.Framework.ULTRALYTICS,
        task_type=v.TaskType.OBJECT_DETECTION,
        model_name="yolo11n",
        export_format=v.ExportFormat.ONNX,
        version=3,
    ),
    model_file="model.onnx",
    preprocessing=mp.Preprocessing(
        resize=mp.Resize(method=v.ResizeMethod.LETTERBOX, size=(320, 416), kernel=v.Kernel.CV2_LINEAR_U8),
        normalize=mp.Normalize(embedded=True),
        format=mp.TensorFormat(output_layout="NHWC", dtype="uint8"),
    ),
    postprocessing=mp.Postprocessing(
        decoder=v.Decoder.YOLO_V8,
        nms=mp.Nms(enabled=True),
        output_format=mp.OutputFormat(bbox_format="xyxy", coordinates="absolute"),
    ),
    input_spec=mp.TensorSpec(name="images", shape=(-1, 320, 416, 3), dtype="uint8", format="NHWC"),
    output_spec={
        "detection": mp.TensorSpec(name="output0", shape=(-1, 7, 2730), dtype="float32", format="cxcywh_scores")
    },
    classes=(
        mp.ModelClass(id=0, name="circle"),
        mp.ModelClass(id=1, name="square"),
        mp.ModelClass(id=2, name="dreieck"),
    ),
    parity=mp.ParitySummary(
        proof=v.Proof.VERIFIED,
        inputs=32,
        non_square_inputs=16,
        outputs=(
            mp.OutputParity(name="output0", max_abs=2.5e-4, mean_abs=1.5e-6, cosine=0.9999999, max_abs_allowed=0.001),
        ),
        predictions_source=120,
        predictions_matched=120,
        max_confidence_difference=2e-6,
        min_iou=0.99999,
        max_box_difference_px=0.001,
    ),
    provenance=mp.Provenance(
        checkpoint_sha256=SHA256,
        export_options={"format": "onnx", "opset_version": 17},
        optimization={},
        toolchain={"torch": "2.14.1", "onnx": "1.23.2"},
    ),
    sizes=mp.Sizes(original_size_bytes=5_400_000, exported_size_bytes=10_500_000, compression_ratio=0.51),
    performance=mp.Performance(
        inference_latency_ms=12.5,
        throughput_fps=80.0,
        hardware="x86-64, 2 cores",
        runtime="onnxruntime 1.32.0 CPUExecutionProvider",
        source_latency_ms=31.0,
    ),
    runtime_wrappers={"python": "runtimes/python/model_wrapper.py"},
    files=(mp.FileDigest(path="model.onnx", sha256=SHA256, size_bytes=10_500_000),),
)
ACCESS = Access(user_id=USER, tier=v.Tier.PRO, key_digests=(SHA256,))
EXAMPLES: dict[type[ev.Event], ev.Event] = {
    ev.TrainingCompletedV1: ev.TrainingCompletedV1(
        training_job_id=TRAINING,
        user_id=USER,
        framework=v.Framework.TIMM,
        task_type=v.TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet18.a1_in1k",
        checkpoint_path=f"s3://vision-platform/uploads/{USER}/{TRAINING}/model.safetensors",
        classes=["cat", "dog"],
        config={"image_size": [224, 224], "data_config": {"interpolation": "bicubic"}},
        export=ExportWish(export_format=v.ExportFormat.ONNX, export_config={"opset_version": 17}, version_tag="first"),
    ),
    ev.ExportRequestedV1: ev.ExportRequestedV1(
        job_id=JOB,
        user_id=USER,
        training_job_id=TRAINING,
        version=3,
        framework=v.Framework.ULTRALYTICS,
        task_type=v.TaskType.OBJECT_DETECTION,
        model_name="yolo11n",
        checkpoint_path=f"s3://vision-platform/uploads/{USER}/{TRAINING}/best.pt",
        checkpoint_max_bytes=1 << 30,
        classes=["circle", "square", "dreieck"],
        source_config={"image_size": [320, 416]},
        export_format=v.ExportFormat.ONNX,
        options=OnnxOptions(image_size=(320, 416), dynamic_axes={"input": [0], "output": [0]}, embed_nms=True),
        optimization=OptimizationConfig(
            quantization=StaticQuantization(calibration_dataset_id=DATASET), pruning=StructuredPruning(sparsity=0.3)
        ),
        validation=ValidationConfig(enabled=True, dataset_id=DATASET, metrics=["mAP50-95"]),
        timeout_s=900,
    ),
    ev.ExportProgressedV1: ev.ExportProgressedV1(
        job_id=JOB,
        attempt=2,
        stage=v.ExportStage.CONVERT,
        percent=41.5,
        message="writing the ONNX graph",
        worker_id="worker-1",
    ),
    ev.ModelExportedV1: ev.ModelExportedV1(
        job_id=JOB,
        user_id=USER,
        training_job_id=TRAINING,
        version=3,
        attempt=2,
        export_format=v.ExportFormat.ONNX,
        proof=v.Proof.VERIFIED,
        model=ref("attempts/2/model.onnx", 10_500_000),
        parity_report=ref("attempts/2/parity_report.json"),
        goldens=ref("attempts/2/golden_vectors.safetensors"),
        log=ref("attempts/2/log.txt"),
        metadata=METADATA,
        durations_s={v.ExportStage.CONVERT: 3.7, v.ExportStage.VERIFY: 2.25},
    ),
    ev.PackageBuiltV1: ev.PackageBuiltV1(
        job_id=JOB,
        user_id=USER,
        attempt=2,
        export_format=v.ExportFormat.ONNX,
        proof=v.Proof.VERIFIED,
        package=ref("export-package.zip", 10_600_000),
        model=ref("model.onnx", 10_500_000),
        parity_report=ref("parity_report.json"),
        metadata=METADATA,
        duration_s=0.75,
    ),
    ev.ExportFailedV1: ev.ExportFailedV1(
        job_id=JOB,
        attempt=2,
        error=ErrorInfo(
            code="parity_failed",
            message="The artefact does not reproduce the source model.",
            hint="Read the report.",
            stage="verify",
            operator="/model.2/Conv",
            cause="max abs 0.7 > 0.001",
        ),
        log=ref("attempts/2/log.txt"),
        parity_report=ref("attempts/2/parity_report.json"),
    ),
    ev.ExportCancelledV1: ev.ExportCancelledV1(job_id=JOB),
    ev.PreflightRequestedV1: ev.PreflightRequestedV1(
        preflight_id=PREFLIGHT,
        user_id=USER,
        training_job_id=TRAINING,
        framework=v.Framework.ULTRALYTICS,
        task_type=v.TaskType.OBJECT_DETECTION,
        model_name="yolo11n",
        checkpoint_path=f"s3://vision-platform/uploads/{USER}/{TRAINING}/best.pt",
        checkpoint_max_bytes=1 << 30,
        classes=["circle", "square", "dreieck"],
        source_config={"image_size": [320, 416]},
        wishes=[OnnxOptions(opset_version=15), CoreMlOptions(precision="fp32")],
        optimization=OptimizationConfig(),
        optimized=v.ExportFormat.ONNX,
    ),
    ev.PreflightAnsweredV1: ev.PreflightAnsweredV1(
        preflight_id=PREFLIGHT,
        user_id=USER,
        forecasts=(
            Forecast(
                format=v.ExportFormat.ONNX,
                supported=True,
                route=("torch", "onnx"),
                proof=v.Proof.VERIFIED,
                precision=v.Precision.FP32,
                precisions=(v.Precision.FP32, v.Precision.FP16),
                rewrites=("plain_attention",),
                expected_size_bytes=10_500_000,
                expected_seconds=4.5,
                expected_memory_bytes=900_000_000,
            ),
            Forecast(
                format=v.ExportFormat.COREML,
                supported=False,
                code="unsupported_operator",
                reason="coremltools has no converter for aten::kthvalue",
                hint="Choose another format.",
                operator="aten::kthvalue",
                available=False,
                waits_for="no worker makes coreml models now",
            ),
        ),
        error=ErrorInfo(code="checkpoint_unreadable", message="The checkpoint is truncated."),
        cached=True,
        duration_s=1.5,
    ),
    ev.DeploymentRequestedV1: ev.DeploymentRequestedV1(
        deployment_id=DEPLOYMENT,
        export_job_id=JOB,
        generation=2,
        desired=v.DesiredState.ACTIVE,
        deployment_type=v.DeploymentType.PLATFORM_ENDPOINT,
        name="shapes",
        config=PlatformEndpointConfig(max_batch_size=4),
        export_format=v.ExportFormat.ONNX,
        model_version=3,
        model=ref("model.onnx", 10_500_000),
        metadata=METADATA,
        access=ACCESS,
    ),
    ev.DeploymentProgressedV1: ev.DeploymentProgressedV1(
        deployment_id=DEPLOYMENT,
        generation=2,
        stage=v.DeploymentStage.BUILD,
        percent=40,
        message="Building the package",
    ),
    ev.DeploymentActivatedV1: ev.DeploymentActivatedV1(
        deployment_id=DEPLOYMENT,
        generation=2,
        deployment_type=v.DeploymentType.PLATFORM_ENDPOINT,
        triton_model=f"d-{DEPLOYMENT.hex}",
        package=ObjectRef(key=f"edge-packages/{DEPLOYMENT}.zip", sha256=SHA256, size_bytes=1024),
        model_version=3,
        metadata=METADATA,
        access=ACCESS,
        load_seconds=0.5,
    ),
    ev.DeploymentScaledV1: ev.DeploymentScaledV1(deployment_id=DEPLOYMENT, generation=2, replicas=3),
    ev.DeploymentUpdatedV1: ev.DeploymentUpdatedV1(
        deployment_id=DEPLOYMENT, generation=2, revision=5, serving=True, access=ACCESS
    ),
    ev.DeploymentDeactivatedV1: ev.DeploymentDeactivatedV1(deployment_id=DEPLOYMENT, generation=3, deleted=True),
    ev.DeploymentFailedV1: ev.DeploymentFailedV1(
        deployment_id=DEPLOYMENT,
        generation=2,
        error=ErrorInfo(code="deployment_failed", message="Triton refused the model.", retryable=True),
    ),
    ev.InferenceRecordedV1: ev.InferenceRecordedV1(
        deployment_id=DEPLOYMENT,
        user_id=USER,
        proxy_id="proxy-1",
        requests=17,
        errors=1,
        inference_time_ms=212.5,
        first_request_at=NOON,
        last_request_at=NOON.replace(second=5),
    ),
}


def main() -> int:
    GOLDEN.mkdir(exist_ok=True)
    for event in EVENTS:
        path = GOLDEN / f"{base_subject(event)}.json"
        if not path.exists():
            path.write_bytes(msgspec.json.format(msgspec.json.encode(EXAMPLES[event]), indent=2) + b"\n")
            print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
