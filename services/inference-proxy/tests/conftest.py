"""Endpoints with keys, their metadata, and pictures."""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest
from PIL import Image

from contracts import credentials
from contracts.events.deployment import Access, DeploymentActivatedV1
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
    ExportFormat,
    Framework,
    Kernel,
    Proof,
    ResizeMethod,
    TaskType,
    Tier,
)
from inference_proxy.ledger import migrations
from servicekit.bus import Bus
from servicekit.fixtures import Schema
from servicekit.migrate import migrate
from servicekit.postgres import Pool

PEPPER = "a pepper for tests only"
CLASSES = ("red", "green", "blue")


def metadata(*, detects: bool = False, nms: Nms | None = None) -> ModelMetadata:
    """What metadata.json says of the two models."""
    method, output = (ResizeMethod.LETTERBOX, "output0") if detects else (ResizeMethod.STRETCH, "logits")
    shape = (-1, 7, 2) if detects else (-1, 3)
    return ModelMetadata(
        model_info=ModelInfo(
            framework=Framework.TIMM,
            task_type=TaskType.OBJECT_DETECTION if detects else TaskType.IMAGE_CLASSIFICATION,
            model_name="tiny",
            export_format=ExportFormat.ONNX,
        ),
        model_file="model.onnx",
        preprocessing=Preprocessing(
            resize=Resize(method=method, size=(32, 32), kernel=Kernel.CV2_LINEAR_U8),
            normalize=Normalize(),
            format=TensorFormat(),
        ),
        postprocessing=Postprocessing(
            decoder=Decoder.YOLO_V8 if detects else Decoder.SOFTMAX,
            nms=nms or Nms(enabled=detects),
            output_format=OutputFormat(),
            top_k=3,
        ),
        input_spec=TensorSpec(name="images", shape=(-1, 3, 32, 32), dtype="float32", format="NCHW"),
        output_spec={output: TensorSpec(name=output, shape=shape, dtype="float32", format="raw")},
        classes=tuple(ModelClass(id=i, name=name) for i, name in enumerate(CLASSES)),
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


class Endpoint:
    """One activated deployment and the key that opens it."""

    def __init__(self, event: DeploymentActivatedV1, key: str) -> None:
        self.event = event
        self.key = key

    @property
    def path(self) -> str:
        return f"/v1/infer/{self.event.deployment_id}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def endpoint(
    tier: Tier = Tier.ENTERPRISE, user_id: UUID | None = None, model: str = "classifier", **meta: Any
) -> Endpoint:
    """An activation with a fresh key."""
    key = credentials.mint(credentials.API_KEY_PREFIX)
    access = Access(user_id=user_id or uuid4(), tier=tier, key_digests=(credentials.digest(key, PEPPER),))
    event = DeploymentActivatedV1(
        deployment_id=uuid4(),
        generation=1,
        deployment_type=DeploymentType.PLATFORM_ENDPOINT,
        triton_model=f"d-{model}",
        model_version=1,
        metadata=metadata(detects=model == "detector", **meta),
        access=access,
    )
    return Endpoint(event, key)


@pytest.fixture
async def pool(pg_pool: Pool, pg_schema: Schema) -> Pool:
    """A ledger of one's own."""
    await migrate(pg_schema.dsn, pg_schema.name, migrations())
    return pg_pool


@pytest.fixture
def set_clock(pool: Pool) -> Callable[[float], Awaitable[None]]:
    """`await set_clock(moment)`: from now on the ledger believes that it is `moment`, and time stands still."""

    async def set_to(moment: float) -> None:
        body = f"'SELECT to_timestamp({moment})'"
        await pool.execute(f"CREATE OR REPLACE FUNCTION utc_now() RETURNS timestamptz LANGUAGE sql AS {body}")

    return set_to


@pytest.fixture
def kit() -> ModuleType:
    """The functions of this file, for tests: importlib mode has no importable conftest."""
    return sys.modules[__name__]


async def announce(bus: Bus, *endpoints: Endpoint) -> None:
    """State the activations."""
    for one in endpoints:
        await bus.publish(one.event, subject_id=one.event.deployment_id, sequence=one.event.generation)


def picture(colour: str = "red", size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """A picture of one colour; `size` is (width, height)."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def turned_picture(size: tuple[int, int]) -> bytes:
    """A JPEG stored as `size`, to be shown turned by a quarter (EXIF orientation 6)."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", size, "red").save(out, "JPEG", exif=exif)
    return out.getvalue()


async def eventually(check: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer of `check`, asked for at most half a minute."""
    async with asyncio.timeout(30):
        while not (answer := await check()):
            await asyncio.sleep(0.02)
        return answer
