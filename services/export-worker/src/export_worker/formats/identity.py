"""What an artefact says of itself inside its own file, where the format has a place for it."""

import msgspec

from export_worker import describe
from export_worker.formats.graph import Embedding
from export_worker.loaded import Work

PREFIX = "modelport."


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
