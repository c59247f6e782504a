"""Task metrics of any predictor on held-out pictures: top-1 accuracy, mAP50 and mean IoU, with numpy alone."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from samples import overlaps
from samples.overlaps import Prediction
from samples.scenes import Scene, Truth

THRESHOLD = 0.5
RECALLS = np.linspace(0, 1, 101)

Predictor = Callable[[npt.NDArray[np.uint8]], Sequence[Prediction]]
"""A uint8 RGB picture [H, W, 3] to what is seen in it; detectors should tell the doubtful as well."""

Overlap = Callable[[Prediction, Truth, Scene], float]


def accuracy(predictor: Predictor, scenes: Sequence[Scene]) -> float:
    """Share of pictures whose most confident prediction is the class of their one truth."""
    named = [max(predictor(scene.picture), key=_confidence)["class_id"] for scene in scenes]
    return float(np.mean([name == scene.truths[0].class_id for name, scene in zip(named, scenes, strict=True)]))


def average_precision(overlap: Overlap) -> Callable[[Predictor, Sequence[Scene]], float]:
    """mAP50 by an overlap: COCO's matching and 101 points of recall, mean over the classes that occur."""

    def metric(predictor: Predictor, scenes: Sequence[Scene]) -> float:
        answers = [predictor(scene.picture) for scene in scenes]
        classes = sorted({truth.class_id for scene in scenes for truth in scene.truths})
        return float(np.mean([_of_class(class_id, answers, scenes, overlap) for class_id in classes]))

    return metric


def mean_iou(predictor: Predictor, scenes: Sequence[Scene]) -> float:
    """Of the pixels of all pictures together, mean over the classes; class 0 is what no object covers."""
    shared: dict[int, int] = {}
    either: dict[int, int] = {}
    for scene in scenes:
        wanted, found = scene.label_map(), np.full(scene.size[::-1], -1)
        for prediction in predictor(scene.picture):
            found[overlaps.pixels(prediction["mask"])] = prediction["class_id"]
        for class_id in {*np.unique(wanted).tolist(), *np.unique(found).tolist()} - {-1}:
            a, b = wanted == class_id, found == class_id
            shared[class_id] = shared.get(class_id, 0) + int((a & b).sum())
            either[class_id] = either.get(class_id, 0) + int((a | b).sum())
    return float(np.mean([shared[class_id] / either[class_id] for class_id in either]))


METRICS: Mapping[str, Callable[[Predictor, Sequence[Scene]], float]] = {
    "image_classification": accuracy,
    "object_detection": average_precision(overlaps.of_boxes),
    "instance_segmentation": average_precision(overlaps.of_masks),
    "pose_estimation": average_precision(overlaps.of_keypoints),
    "oriented_detection": average_precision(overlaps.of_rotated_boxes),
    "semantic_segmentation": mean_iou,
}
"""By task type; each is between 0 and 1, more is better."""


def _confidence(prediction: Prediction) -> float:
    return prediction["confidence"]


def _of_class(
    class_id: int, answers: Sequence[Sequence[Prediction]], scenes: Sequence[Scene], overlap: Overlap
) -> float:
    """Area under the precision envelope at recalls 0, 0.01 … 1; predictions of equal confidence keep their order."""
    confidences: list[float] = []
    hits: list[bool] = []
    wanted = 0
    for answer, scene in zip(answers, scenes, strict=True):
        truths = [truth for truth in scene.truths if truth.class_id == class_id]
        found = sorted((one for one in answer if one["class_id"] == class_id), key=_confidence, reverse=True)
        confidences += [one["confidence"] for one in found]
        hits += _hits(found, truths, scene, overlap)
        wanted += len(truths)
    hit = np.array(hits, bool)[np.argsort(-np.array(confidences), kind="stable")]
    true = np.cumsum(hit)
    precision = np.maximum.accumulate((true / np.arange(1, len(hit) + 1))[::-1])[::-1]
    places = np.searchsorted(true / wanted, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


def _hits(found: Sequence[Prediction], truths: Sequence[Truth], scene: Scene, overlap: Overlap) -> list[bool]:
    """Each prediction, the most confident first, takes the free truth that it covers best, if it does by half."""
    free, hits = list(truths), []
    for prediction in found:
        best = max(free, key=lambda truth: overlap(prediction, truth, scene), default=None)
        hit = best is not None and overlap(prediction, best, scene) >= THRESHOLD
        if hit and best is not None:
            free.remove(best)
        hits.append(hit)
    return hits
