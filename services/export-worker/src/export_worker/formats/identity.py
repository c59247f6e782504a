"""What an artefact says of itself inside its own file, where the format has a place for it."""

from collections.abc import Mapping

import msgspec

from contracts.vocabulary import Framework, TaskType
from export_worker import describe
from export_worker.formats.graph import Embedding
from export_worker.loaded import Work

PREFIX = "modelport."
ULTRALYTICS_TASKS: dict[TaskType, str] = {
    TaskType.OBJECT_DETECTION: "detect",
    TaskType.INSTANCE_SEGMENTATION: "segment",
    TaskType.POSE_ESTIMATION: "pose",
    TaskType.ORIENTED_DETECTION: "obb",
    TaskType.IMAGE_CLASSIFICATION: "classify",
}


def identity(work: Work, embedding: Embedding) -> dict[str, str]:
    """Key -> text: task, class names (`names`, as JSON by class id), thresholds, input contract, decoder and the checkpoint's digest.

    Nothing here depends on the clock or on the job, so that the same request gives the same bytes.
    """
    loaded, request = work.need_loaded(), work.request
    post, pre = embedding.postprocessing, embedding.preprocessing
    told: dict[str, object] = {
        "framework": str(request.framework),
        "task": str(request.task_type),
        "model_name": request.model_name,
        "names": {str(number): name for number, name in enumerate(loaded.classes)},
        "preprocessing": msgspec.to_builtins(pre),
        "decoder": str(post.decoder),
        "confidence_threshold": post.nms.confidence_threshold,
        "iou_threshold": post.nms.iou_threshold,
        "max_detections": post.nms.max_detections,
        "checkpoint_sha256": describe.sha256(work.checkpoint),
    }
    return {
        PREFIX + key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in told.items()
    }


def conventional(work: Work, embedding: Embedding) -> dict[str, object]:
    """What other programs look for, by the keys of Ultralytics' exporter: `names`, class id to name.

    `task`, `stride`, `imgsz`, `batch` and the like say how Ultralytics runs the model, so they are of its own models alone, and of
    those that take what it gives: normalised planes.
    """
    loaded, request, post = work.need_loaded(), work.request, embedding.postprocessing
    names: dict[str, object] = {"names": dict(enumerate(loaded.classes))}
    if request.framework is not Framework.ULTRALYTICS or embedding.embedded:
        return names
    pose = {"kpt_shape": list(post.keypoint_shape)} if post.keypoint_shape else {}
    return names | pose | {
        "task": ULTRALYTICS_TASKS[request.task_type],
        "stride": loaded.stride,
        "imgsz": list(embedding.preprocessing.resize.size),
        "batch": request.options.batch_size,
        "channels": 3,
        "end2end": str(post.decoder).startswith("yolo_end2end"),
    }  # fmt: skip


def as_texts(told: Mapping[str, object]) -> dict[str, str]:
    """`conventional` for formats that keep text: as Python writes the values, which its readers take back by `ast.literal_eval`."""
    return {key: str(value) for key, value in told.items()}
