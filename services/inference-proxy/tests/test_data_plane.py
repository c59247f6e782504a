"""The path of a picture around a double of Triton."""

import threading
from types import ModuleType
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from contracts.errors import Permanent, Transient
from contracts.model_package import Nms
from inference_proxy import data_plane
from inference_proxy.bodies import InferRequest, Thresholds
from inference_proxy.data_plane import DataPlane, Inference
from inference_proxy.images import ImageLimits
from inference_proxy.served import COPIES, FREE_ANSWER_BYTES, HEAD_BYTES, ServedModel, serve

USER = UUID(int=7)
LIMITS = ImageLimits(max_bytes=1 << 20, max_pixels=1_000_000)
BOXES = np.array([[[8, 8.5, 24], [8, 8, 8], [8, 8, 8], [8, 8, 8], [0.9, 0.8, 0], [0, 0, 0.3], [0, 0, 0]]], np.float32)


class Triton:
    """Answers what it was given."""

    def __init__(self, answer: dict[str, NDArray[np.generic]]) -> None:
        self.answer = answer
        self.tensors: list[NDArray[np.generic]] = []

    async def infer(self, model: ServedModel, tensor: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        self.tensors.append(tensor)
        return self.answer


async def admitted() -> None:
    """Nothing is limited here."""


async def infer(
    kit: ModuleType,
    triton: Triton,
    *,
    model: str = "detector",
    nms: Nms | None = None,
    image: bytes = b"",
    **given: Any,
) -> Inference:
    served = serve(kit.endpoint(model=model, nms=nms).event, "")
    plane = DataPlane(triton, LIMITS, threads=1)
    try:
        request = InferRequest(image=image or kit.picture("red", (64, 32)), thresholds=Thresholds(**given))
        return await plane.infer(served, request, admitted, user_id=USER)
    finally:
        plane.close()


async def test_boxes_come_back_in_pixels_of_the_picture(kit: ModuleType) -> None:
    triton = Triton({"output0": BOXES})
    found = await infer(kit, triton)
    assert (found.width, found.height) == (64, 32)
    assert [stage.name for stage in found.stages] == ["decode", "preprocess", "triton", "postprocess"]
    assert triton.tensors[0].shape == (1, 3, 32, 32)
    first, second = found.predictions
    assert (first.class_name, first.class_id) == ("red", 0)
    # letterbox of 64 x 32 into 32 x 32: half size, 8 rows of padding above
    assert first.bbox == (8.0, 0.0, 24.0, 8.0)
    assert second.class_name == "green"


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        ({}, ["red", "green"]),
        ({"iou_threshold": 1.0}, ["red", "red", "green"]),
        ({"confidence_threshold": 0.5}, ["red"]),
        ({"confidence_threshold": 0.95}, []),
    ],
)
async def test_thresholds_of_the_request_decide(kit: ModuleType, given: dict[str, Any], classes: list[str]) -> None:
    found = await infer(kit, Triton({"output0": BOXES}), **given)
    assert [prediction.class_name for prediction in found.predictions] == classes


@pytest.mark.parametrize(
    ("given", "field"),
    [({"confidence_threshold": 0.2}, "confidence_threshold"), ({"iou_threshold": 0.8}, "iou_threshold")],
)
async def test_thresholds_that_the_graph_has_cut_off_already_are_refused(
    kit: ModuleType, given: dict[str, Any], field: str
) -> None:
    triton = Triton({"output0": BOXES})
    nms = Nms(enabled=True, embedded=True, confidence_threshold=0.25, iou_threshold=0.7)
    with pytest.raises(Permanent) as caught:
        await infer(kit, triton, nms=nms, **given)
    assert (caught.value.status, caught.value.fields[0].field) == (422, field)
    assert "0.25" in caught.value.hint or "0.7" in caught.value.hint
    assert not triton.tensors
    await infer(kit, triton, nms=nms, confidence_threshold=0.25, iou_threshold=0.7)


async def test_iou_means_nothing_for_a_classifier(kit: ModuleType) -> None:
    with pytest.raises(Permanent) as caught:
        await infer(kit, Triton({"logits": np.zeros((1, 3), np.float32)}), model="classifier", iou_threshold=0.5)
    assert (caught.value.status, caught.value.fields[0].field) == (422, "iou_threshold")


async def test_confidence_of_a_classifier_cuts_the_list(kit: ModuleType) -> None:
    triton = Triton({"logits": np.array([[3, 1, 0]], np.float32)})
    found = await infer(kit, triton, model="classifier", confidence_threshold=0.5)
    assert [(one.class_name, one.bbox) for one in found.predictions] == [("red", None)]


@pytest.mark.parametrize("answer", [{"other": BOXES}, {"output0": BOXES[0]}, {"output0": BOXES[:, :3]}])
async def test_output_that_contradicts_the_metadata_is_an_upstream_error(
    kit: ModuleType, answer: dict[str, NDArray[np.generic]]
) -> None:
    with pytest.raises(Transient) as caught:
        await infer(kit, Triton(answer))
    assert caught.value.code == "upstream_failed"


async def test_nobody_asks_the_model_for_a_request_that_is_not_admitted(kit: ModuleType) -> None:
    async def refused() -> None:
        raise Permanent("rate_limited", "no")

    triton = Triton({"output0": BOXES})
    plane = DataPlane(triton, LIMITS, threads=1)
    served = serve(kit.endpoint(model="detector").event, "")
    with pytest.raises(Permanent):
        await plane.infer(served, InferRequest(image=kit.picture()), refused, user_id=USER)
    plane.close()
    assert not triton.tensors


async def test_orientation_is_ignored_where_the_trainer_ignored_it(kit: ModuleType) -> None:
    event = kit.endpoint(model="detector").event
    pre = event.metadata.preprocessing
    ignoring = replace(pre, format=replace(pre.format, exif_orientation="ignored"))
    turned = kit.turned_picture((64, 32))
    plane = DataPlane(Triton({"output0": BOXES}), LIMITS, threads=1)
    sizes = []
    for one in (event, replace(event, metadata=replace(event.metadata, preprocessing=ignoring))):
        found = await plane.infer(serve(one, ""), InferRequest(image=turned), admitted, user_id=USER)
        sizes.append((found.width, found.height))
    plane.close()
    assert sizes == [(32, 64), (64, 32)]


async def test_a_giant_answer_is_read_off_the_loop_and_a_small_one_on_it(
    kit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = data_plane._predictions

    def watched(*given: Any) -> Any:
        seen.append(threading.current_thread().name)
        return real(*given)

    monkeypatch.setattr(data_plane, "_predictions", watched)
    await infer(kit, Triton({"output0": BOXES}))
    await infer(kit, Triton({"output0": np.zeros((1, 7, 100_000), np.float32)}))
    assert seen[0] == threading.main_thread().name
    assert seen[1].startswith("picture")


async def test_a_strip_is_refused_and_not_made_giant(kit: ModuleType) -> None:
    from contracts.model_package import Resize
    from contracts.vocabulary import Kernel, ResizeMethod

    event = kit.endpoint().event
    pre = event.metadata.preprocessing
    resize = Resize(
        method=ResizeMethod.SHORT_SIDE_CROP, size=(224, 224), kernel=Kernel.PIL_BILINEAR, resize_to=(256, 256)
    )
    metadata = replace(event.metadata, preprocessing=replace(pre, resize=resize))
    plane = DataPlane(Triton({}), LIMITS, threads=1)
    request = InferRequest(image=kit.picture("red", (60_000, 1)))
    with pytest.raises(Permanent) as caught:
        await plane.infer(serve(replace(event, metadata=metadata), ""), request, admitted, user_id=USER)
    plane.close()
    assert (caught.value.code, caught.value.fields[0].field) == ("image_too_large", "image")


def test_what_a_request_holds_is_known_from_the_metadata(kit: ModuleType) -> None:
    model = serve(kit.endpoint(model="detector").event, "")
    assert model.answer_bytes == HEAD_BYTES + 7 * 2 * 8
    assert model.memory_bytes == COPIES * (32 * 32 * 3 * 4 + model.answer_bytes)


def test_outputs_of_unknown_size_have_a_bound(kit: ModuleType) -> None:
    event = kit.endpoint(model="detector").event
    (spec,) = event.metadata.output_spec.values()
    free = replace(event.metadata, output_spec={"o": replace(spec, shape=(-1, 7, -1))})
    assert serve(replace(event, metadata=free), "").answer_bytes == HEAD_BYTES + FREE_ANSWER_BYTES
