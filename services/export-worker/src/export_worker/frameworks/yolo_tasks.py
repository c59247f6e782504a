"""What Ultralytics' tasks differ in, as one table: predictor, heads, decoders, and what an anchor holds beside box and scores."""

from typing import NamedTuple

from ultralytics.engine.predictor import BasePredictor
from ultralytics.models.yolo.classify.predict import ClassificationPredictor
from ultralytics.models.yolo.detect.predict import DetectionPredictor
from ultralytics.models.yolo.obb.predict import OBBPredictor
from ultralytics.models.yolo.pose.predict import PosePredictor
from ultralytics.models.yolo.segment.predict import SegmentationPredictor

from contracts.vocabulary import Decoder, TaskType
from export_worker.loaded import Output


class Task(NamedTuple):
    """One task of Ultralytics.

    heads    names of the last layers that can be exported, subclasses not included: each answers in a layout of its own
    decoder  of a model whose boxes are suppressed outside; `end2end` of one that needs no suppression
    extra    what a box carries beside its scores
    box      how a box without need of suppression is written
    """

    word: TaskType
    predictor: type[BasePredictor]
    heads: frozenset[str]
    decoder: Decoder
    end2end: Decoder
    extra: str = ""
    box: str = "x1 y1 x2 y2"
    trained: int = 640
    """Side of the input where the checkpoint does not tell."""

    def outputs(self, *, end2end: bool) -> tuple[Output, ...]:
        """Of the model in export mode, in their order."""
        if self.decoder is Decoder.PROBABILITIES:
            return (Output("probabilities", "[batch, class]"),)
        if end2end:
            first = Output("detections", f"[batch, detection, {self.box} score class{self.extra and ' ' + self.extra}]")
        else:
            first = Output("output0", f"[batch, cx cy w h + scores{self.extra and ' + ' + self.extra}, anchor]")
        masks = self.word is TaskType.INSTANCE_SEGMENTATION
        return (first, Output("prototypes", "[batch, prototype, height, width]")) if masks else (first,)


TASKS: dict[str, Task] = {
    "detect": Task(
        TaskType.OBJECT_DETECTION, DetectionPredictor, frozenset({"Detect", "v10Detect"}),
        Decoder.YOLO_V8, Decoder.YOLO_END2END,
    ),
    "segment": Task(
        TaskType.INSTANCE_SEGMENTATION, SegmentationPredictor, frozenset({"Segment", "Segment26"}),
        Decoder.YOLO_V8_SEGMENT, Decoder.YOLO_END2END_SEGMENT, extra="coefficients",
    ),
    "pose": Task(
        TaskType.POSE_ESTIMATION, PosePredictor, frozenset({"Pose", "Pose26"}),
        Decoder.YOLO_V8_POSE, Decoder.YOLO_END2END_POSE, extra="keypoints",
    ),
    "obb": Task(
        TaskType.ORIENTED_DETECTION, OBBPredictor, frozenset({"OBB", "OBB26"}),
        Decoder.YOLO_V8_OBB, Decoder.YOLO_END2END_OBB, extra="angle", box="cx cy w h",
    ),
    "classify": Task(
        TaskType.IMAGE_CLASSIFICATION, ClassificationPredictor, frozenset({"Classify"}),
        Decoder.PROBABILITIES, Decoder.PROBABILITIES, trained=224,
    ),
}  # fmt: skip
"""By Ultralytics' own word."""
