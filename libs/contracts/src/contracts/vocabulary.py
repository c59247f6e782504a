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


class ExportRoute(StrEnum):
    """Last token of the subject of a request: the format, or a flavour of it that workers of another kind make."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt_rtx"
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

    @property
    def is_built(self) -> bool:
        """Whether a packager builds a zip for it."""
        return self in (DeploymentType.EDGE_PACKAGE, DeploymentType.CONTAINER)


class DeploymentStatus(StrEnum):
    PENDING = "pending"
    DEPLOYING = "deploying"
    ACTIVE = "active"
    INACTIVE = "inactive"
    FAILED = "failed"


class DeploymentStage(StrEnum):
    """What a packager does for a deployment, in this order."""

    FETCH = "fetch"
    BUILD = "build"
    VERIFY = "verify"
    UPLOAD = "upload"


class TargetPlatform(StrEnum):
    """What an edge package is made for."""

    IOS = "ios"
    ANDROID = "android"
    RASPBERRY_PI = "raspberry_pi"
    JETSON = "jetson"
    LINUX = "linux"


class WrapperLanguage(StrEnum):
    """Languages that a package brings a wrapper in."""

    PYTHON = "python"
    CPP = "cpp"
    SWIFT = "swift"
    KOTLIN = "kotlin"


class WrapperProof(StrEnum):
    """What was proved about a wrapper of one package before it was delivered; a weaker word is never shown as a stronger one.

    verified  it ran this package's model and repeated all of its golden vectors
    built     its sources compile; of this package nothing, or only pre- and post-processing, was run
    parsed    its sources are free of syntax errors; nothing here can compile them
    """

    VERIFIED = "verified"
    BUILT = "built"
    PARSED = "parsed"


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


class Precision(StrEnum):
    """The arithmetic of an artefact.

    fp32          float32 weights and arithmetic
    fp16          float16 weights; a runtime may compute in float16 or convert them back
    int8_weights  int8 weights, converted back to float before they are used
    int8_dynamic  int8 weights, activations quantised while the model runs
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8_WEIGHTS = "int8_weights"
    INT8_DYNAMIC = "int8_dynamic"


class Decoder(StrEnum):
    """How a model's raw outputs become predictions; the first output is named first. C classes, A anchors, K rows, best first.

    softmax              logits [N, C]
    probabilities        class probabilities [N, C]
    yolo_v8              [N, 4 + C, A]: cxcywh in input pixels and class scores, NMS outside
    yolo_v8_segment      [N, 4 + C + M, A] with M mask coefficients, and prototypes [N, M, h, w]
    yolo_v8_pose         [N, 4 + C + points * dims, A], keypoints in input pixels
    yolo_v8_obb          [N, 4 + C + 1, A], the last row is the angle in radians; NMS on rotated boxes
    yolo_end2end         [N, K, 6]: x1 y1 x2 y2 score class in input pixels, NMS inside or not needed
    yolo_end2end_segment [N, K, 6 + M] and prototypes [N, M, h, w]
    yolo_end2end_pose    [N, K, 6 + points * dims]
    yolo_end2end_obb     [N, K, 7]: cx cy w h score class angle
    detr_softmax         logits [N, Q, C + 1], the last class is "no object", and boxes [N, Q, 4], cxcywh as fractions of the input
    detr_sigmoid         logits [N, Q, C] and boxes [N, Q, 4]; the best of all (query, class) pairs count
    semantic_logits      [N, C, h, w]: resized bilinearly to the picture, the best class of each pixel counts
    """

    SOFTMAX = "softmax"
    PROBABILITIES = "probabilities"
    YOLO_V8 = "yolo_v8"
    YOLO_V8_SEGMENT = "yolo_v8_segment"
    YOLO_V8_POSE = "yolo_v8_pose"
    YOLO_V8_OBB = "yolo_v8_obb"
    YOLO_END2END = "yolo_end2end"
    YOLO_END2END_SEGMENT = "yolo_end2end_segment"
    YOLO_END2END_POSE = "yolo_end2end_pose"
    YOLO_END2END_OBB = "yolo_end2end_obb"
    DETR_SOFTMAX = "detr_softmax"
    DETR_SIGMOID = "detr_sigmoid"
    SEMANTIC_LOGITS = "semantic_logits"
