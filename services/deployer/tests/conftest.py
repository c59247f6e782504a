"""A real Triton, a tiny colour classifier and requests for it."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from contracts import keys
from contracts.deployment import PlatformEndpointConfig
from contracts.events.deployment import Access, DeploymentRequestedV1
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
)
from contracts.vocabulary import (
    Decoder,
    DeploymentType,
    DesiredState,
    ExportFormat,
    Framework,
    Kernel,
    Proof,
    ResizeMethod,
    TaskType,
    Tier,
)
from embedded.ports import Ports
from embedded.triton import triton_program
from servicekit.servers import ServerCommand, free_ports
from servicekit.testing import Server

ROOT = Path(__file__).parents[3]
SERVING = ROOT / ".venv-serving"
Requests = Callable[..., DeploymentRequestedV1]


class TritonServer(Server):
    """A Triton of one's own at `http_url` and `grpc_url`."""

    http_url: str = ""
    grpc_url: str = ""
    shared_memory: str = ""

    def restart(self) -> None:
        """As the supervisor does: a killed Triton leaves regions behind at which its successor would hang."""
        self.kill()
        for region in Path("/dev/shm").glob(f"{self.shared_memory}*"):
            region.unlink(missing_ok=True)
        self.start()


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """One Triton a session, empty at its start."""
    if not (SERVING / "bin" / "python").exists():
        pytest.skip(".venv-serving is absent: run `make setup`")
    home = tmp_path_factory.mktemp("triton")
    http, grpc, metrics = free_ports(3)
    ports = msgspec.structs.replace(Ports(), triton_http=http, triton_grpc=grpc, triton_metrics=metrics)
    program = triton_program(SERVING, home, ports, dict(os.environ))
    command = ServerCommand(
        name="triton",
        argv=program.argv,
        cwd=program.cwd,
        port=http,
        env=program.env,
        ready_url=f"http://127.0.0.1:{http}/v2/health/ready",
    )
    server = TritonServer(command, home / "triton.log")
    server.http_url, server.grpc_url = f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}"
    server.shared_memory = f"modelport-{http}-"
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def model() -> bytes:
    """Mean red, green and blue of float32 [N, 3, 32, 32] as logits [N, 3]."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.checker.check_model(made) or made.SerializeToString())


@pytest.fixture(scope="session")
def metadata() -> ModelMetadata:
    """What metadata.json says of `model`."""
    return ModelMetadata(
        model_info=ModelInfo(
            framework=Framework.TIMM,
            task_type=TaskType.IMAGE_CLASSIFICATION,
            model_name="colours",
            export_format=ExportFormat.ONNX,
        ),
        model_file="model.onnx",
        preprocessing=Preprocessing(
            resize=Resize(method=ResizeMethod.STRETCH, size=(32, 32), kernel=Kernel.CV2_LINEAR_U8),
            normalize=Normalize(),
            format=TensorFormat(),
        ),
        postprocessing=Postprocessing(decoder=Decoder.SOFTMAX, nms=Nms(), output_format=OutputFormat(), top_k=3),
        input_spec=TensorSpec(name="images", shape=(-1, 3, 32, 32), dtype="float32", format="NCHW"),
        output_spec={"logits": TensorSpec(name="logits", shape=(-1, 3), dtype="float32", format="logits")},
        classes=tuple(ModelClass(id=i, name=name) for i, name in enumerate(("red", "green", "blue"))),
        parity=ParitySummary(
            proof=Proof.VERIFIED,
            inputs=32,
            non_square_inputs=16,
            outputs=(),
            predictions_source=32,
            predictions_matched=32,
            max_confidence_difference=0.0,
        ),
        provenance=Provenance(checkpoint_sha256="0" * 64, export_options={}, optimization={}, toolchain={}),
        sizes=Sizes(original_size_bytes=1, exported_size_bytes=1, compression_ratio=1.0),
    )


@pytest.fixture
def request_for(model: bytes, metadata: ModelMetadata) -> Requests:
    """Builds requests; `export_job_id` says where the model must lie."""

    def build(
        deployment_id: UUID | None = None,
        generation: int = 1,
        desired: DesiredState = DesiredState.ACTIVE,
        **changes: object,
    ) -> DeploymentRequestedV1:
        job = uuid4()
        request = DeploymentRequestedV1(
            deployment_id=deployment_id or uuid4(),
            export_job_id=job,
            generation=generation,
            desired=desired,
            deployment_type=DeploymentType.PLATFORM_ENDPOINT,
            name="colours",
            config=PlatformEndpointConfig(),
            export_format=ExportFormat.ONNX,
            model_version=1,
            model=ObjectRef(
                key=keys.export_file(job, "model.onnx"),
                sha256=hashlib.sha256(model).hexdigest(),
                size_bytes=len(model),
            ),
            metadata=metadata,
            access=Access(user_id=uuid4(), tier=Tier.FREE, key_digests=("ab" * 32,)),
        )
        return msgspec.structs.replace(request, **changes)

    return build
