"""Which languages a package brings, and which devices run a format."""

from contracts.vocabulary import ExportFormat, TargetPlatform, WrapperLanguage

_PYTHON, _CPP = WrapperLanguage.PYTHON, WrapperLanguage.CPP
_SWIFT, _KOTLIN = WrapperLanguage.SWIFT, WrapperLanguage.KOTLIN

LANGUAGES: dict[ExportFormat, tuple[WrapperLanguage, ...]] = {
    ExportFormat.ONNX: (_PYTHON, _CPP, _KOTLIN, _SWIFT),
    ExportFormat.TFLITE: (_PYTHON, _CPP, _KOTLIN),
    ExportFormat.COREML: (_PYTHON, _SWIFT),
    ExportFormat.OPENVINO: (_PYTHON, _CPP),
    ExportFormat.TORCHSCRIPT: (_PYTHON, _CPP),
    ExportFormat.TENSORRT: (_PYTHON, _CPP),
}
"""The wrappers that can run a format; a package holds these and no others."""

PLATFORM_FORMATS: dict[TargetPlatform, tuple[ExportFormat, ...]] = {
    TargetPlatform.IOS: (ExportFormat.COREML, ExportFormat.ONNX),
    TargetPlatform.ANDROID: (ExportFormat.TFLITE, ExportFormat.ONNX),
    TargetPlatform.RASPBERRY_PI: (
        ExportFormat.TFLITE,
        ExportFormat.ONNX,
        ExportFormat.OPENVINO,
        ExportFormat.TORCHSCRIPT,
    ),
    TargetPlatform.JETSON: (ExportFormat.ONNX, ExportFormat.TFLITE, ExportFormat.TORCHSCRIPT),
    TargetPlatform.LINUX: (
        ExportFormat.ONNX,
        ExportFormat.OPENVINO,
        ExportFormat.TFLITE,
        ExportFormat.TORCHSCRIPT,
        ExportFormat.TENSORRT,
    ),
}
"""Formats that a device runs, the best first. No engine for Jetson: TensorRT's run on the GPU that they were built on alone."""

PLATFORM_LANGUAGES: dict[TargetPlatform, tuple[WrapperLanguage, ...]] = {
    TargetPlatform.IOS: (_SWIFT, _PYTHON),
    TargetPlatform.ANDROID: (_KOTLIN, _CPP, _PYTHON),
    TargetPlatform.RASPBERRY_PI: (_PYTHON, _CPP),
    TargetPlatform.JETSON: (_PYTHON, _CPP),
    TargetPlatform.LINUX: (_PYTHON, _CPP),
}
"""The wrappers that an edge package brings, the device's own first; Python's everywhere, because it verifies the package."""
