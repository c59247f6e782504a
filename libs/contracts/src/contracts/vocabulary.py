"""The words of the product: every enumerated value that crosses a boundary, spelt once."""

from enum import StrEnum


class Framework(StrEnum):
    ULTRALYTICS = "ultralytics"
    TIMM = "timm"
    HUGGINGFACE = "huggingface"


class TaskType(StrEnum):
    IMAGE_CLASSIFICATION = "image_classification"
    OBJECT_DETECTION = "object_detection"
    INSTANCE_SEGMENTATION = "instance_segmentation"
    SEMANTIC_SEGMENTATION = "semantic_segmentation"
    POSE_ESTIMATION = "pose_estimation"
    ORIENTED_DETECTION = "oriented_detection"


class ExportFormat(StrEnum):
    ONNX = "onnx"
    TENSORRT = "tensorrt"
    COREML = "coreml"
    TFLITE = "tflite"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"


class ExportStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExportStage(StrEnum):
    """Where a running job is; the order is the order of the work."""

    FETCH = "fetch"
    LOAD = "load"
    OPTIMISE = "optimise"
    CONVERT = "convert"
    VERIFY = "verify"
    VALIDATE = "validate"
    PACKAGE = "package"


class Proof(StrEnum):
    """What a job proved about an artefact; a weaker word is never shown as a stronger one."""

    VERIFIED = "verified"
    EVALUATED = "evaluated"
    BUILT = "built"
    FAILED = "failed"


class DeploymentType(StrEnum):
    DOWNLOAD = "download"
    PLATFORM_ENDPOINT = "platform_endpoint"
    EDGE_PACKAGE = "edge_package"
    CONTAINER = "container"


class DeploymentStatus(StrEnum):
    PENDING = "pending"
    DEPLOYING = "deploying"
    ACTIVE = "active"
    INACTIVE = "inactive"
    FAILED = "failed"


class DesiredState(StrEnum):
    """What the owner of a deployment wants it to be."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    DELETED = "deleted"


class Tier(StrEnum):
    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class Scope(StrEnum):
    """What a user's bearer token may do; `admin` manages users and tokens."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Quality(StrEnum):
    EXCELLENT = "excellent"
    GOOD = "good"
    FAIR = "fair"
    NONE = "none"


class ResizeMethod(StrEnum):
    """How a picture of any size becomes the model's input size.

    letterbox         keep the aspect ratio, pad the rest with `fill_value`
    stretch           both sides to `size`, aspect ratio lost
    short_side_crop   short side to `resize_to`, then the centre `size` is cut out
    stretch_crop      both sides to `resize_to`, then the centre `size` is cut out
    """

    LETTERBOX = "letterbox"
    STRETCH = "stretch"
    SHORT_SIDE_CROP = "short_side_crop"
    STRETCH_CROP = "stretch_crop"


class Kernel(StrEnum):
    """Resampling arithmetic, exact to the bit; `libs/processing` is its specification."""

    CV2_LINEAR_U8 = "cv2_linear_u8"
    PIL_NEAREST = "pil_nearest"
    PIL_BILINEAR = "pil_bilinear"
    PIL_BICUBIC = "pil_bicubic"
    PIL_LANCZOS = "pil_lanczos"


class Decoder(StrEnum):
    """How a model's raw outputs become predictions.

    softmax        logits [N, C]
    probabilities  class probabilities [N, C]
    yolo_v8        [N, 4 + C, anchors], cxcywh in input pixels and class scores, NMS outside
    yolo_end2end   [N, K, 6], x1 y1 x2 y2 score class in input pixels, NMS inside or not needed
    """

    SOFTMAX = "softmax"
    PROBABILITIES = "probabilities"
    YOLO_V8 = "yolo_v8"
    YOLO_END2END = "yolo_end2end"
