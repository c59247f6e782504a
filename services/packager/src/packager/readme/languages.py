"""The README's part on wrappers: what was proved about each language of this package, and how it is run."""

from importlib.resources import files
from string import Template

from contracts.model_package import ModelMetadata
from contracts.vocabulary import ExportFormat, WrapperLanguage
from contracts.wrappers import LANGUAGES
from packager.readme import markdown
from packager.wrappers import BEGINS
from processing.decoders import DECODERS, Kind

TITLES: dict[WrapperLanguage, str] = {
    WrapperLanguage.PYTHON: "Python",
    WrapperLanguage.CPP: "C++",
    WrapperLanguage.SWIFT: "Swift",
    WrapperLanguage.KOTLIN: "Kotlin",
}
_DETAIL_SHOWN = 400
MASK_ARRAY = "; `mask.array()` gives a mask's pixels, bool [height, width]"
PYTHON_NOTES: dict[ExportFormat, str] = {
    ExportFormat.COREML: "Core ML runs on macOS alone; elsewhere `verify.py --without-model` shows that the rest is right.",
    ExportFormat.TENSORRT: "It needs an NVIDIA GPU of the kind that the engine was built for.",
}
CPP_RUNTIMES: dict[ExportFormat, tuple[str, str]] = {
    ExportFormat.ONNX: (
        "ONNX Runtime's headers and library (its releases on GitHub, Homebrew's, vcpkg's or any other build)",
        "-DONNXRUNTIME_ROOT=/opt/onnxruntime",
    ),
    ExportFormat.OPENVINO: (
        "OpenVINO (an archive of its own, or the Python package, which brings headers and CMake files)",
        "-DOpenVINO_DIR=\"$(venv/bin/python -c 'import openvino; print(openvino.__path__[0])')/cmake\"",
    ),
    ExportFormat.TORCHSCRIPT: (
        "LibTorch (pytorch.org, or the Python package, which brings headers and CMake files)",
        "-DCMAKE_PREFIX_PATH=\"$(venv/bin/python -c 'import torch; print(torch.utils.cmake_prefix_path)')\"",
    ),
    ExportFormat.TFLITE: ("the library of TensorFlow Lite's C API", "-DLITERT_ROOT=/opt/tensorflowlite_c"),
    ExportFormat.TENSORRT: ("TensorRT and the CUDA toolkit", "-DTENSORRT_ROOT=/opt/tensorrt"),
}
"""What has to be there beside the compiler, and how CMake is told where."""
KOTLIN: dict[ExportFormat, tuple[str, str, str]] = {
    ExportFormat.ONNX: (
        "A project for Gradle 8.2 and Java 17, or newer, with ONNX Runtime; Android takes the same sources.",
        "gradle run --args ../../picture.jpg\ngradle verify\ngradle test",
        "jvm",
    ),
    ExportFormat.TFLITE: (
        "For Android, with LiteRT. On the JVM, which LiteRT does not run on, what comes before and after the model can be verified:",
        "gradle verify\ngradle test",
        "android",
    ),
}
"""What a project is for, what runs it, and which example belongs to it."""
SWIFT: dict[ExportFormat, str] = {
    ExportFormat.COREML: "Core ML runs the model.",
    ExportFormat.ONNX: "ONNX Runtime for iOS and macOS, which the package fetches, runs the model.",
}


def names(metadata: ModelMetadata) -> str:
    """The languages of this package."""
    return ", ".join(TITLES[language] for language in LANGUAGES[metadata.model_info.export_format])


def status(metadata: ModelMetadata) -> str:
    """A row for each language: where its wrapper begins, and what was proved about it before delivery."""
    rows = []
    for language in LANGUAGES[metadata.model_info.export_format]:
        found = metadata.wrapper_proofs.get(language)
        told = (
            (str(found.proof), found.detail)
            if found
            else ("not proven", "nothing was tried where this package was made")
        )
        begins = f"`runtimes/{language}/{BEGINS[language]}`"
        rows.append(f"| {TITLES[language]} | {begins} | **{told[0]}** | {markdown.escape(told[1], _DETAIL_SHOWN)} |")
    head = "| wrapper | begins at | proof | by what |\n|---|---|---|---|\n"
    meaning = (
        "`verified`: it ran this package's model and repeated all golden vectors; `built`: it compiles, and of this package at most what comes "
        "before and after the model was run; `parsed`: its sources are free of syntax errors. A run of your own has one check more: this file, "
        "which was written last."
    )
    return head + "\n".join(rows) + "\n\n" + meaning


def options_taken(metadata: ModelMetadata) -> str:
    """Options of `predict` beside the confidence threshold."""
    kind = DECODERS[metadata.postprocessing.decoder].kind
    return {
        Kind.CLASSES: " and how many classes to list (`top_k`)",
        Kind.OBJECTS: ", the overlap that suppresses (`iou_threshold`) and a largest number (`max_detections`)",
        Kind.REGIONS: " and a largest number (`max_detections`)",
    }[kind]


def sections(metadata: ModelMetadata) -> str:
    """How each language of this package is run; commands as they are typed in the unpacked package."""
    export_format = metadata.model_info.export_format
    return "\n".join(_section(metadata, language) for language in LANGUAGES[export_format]).rstrip()


def _section(metadata: ModelMetadata, language: WrapperLanguage) -> str:
    template = (files("packager") / "templates" / "languages" / f"{language}.md").read_text(encoding="utf-8")
    text = Template(template).substitute(_given(metadata, language))
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _given(metadata: ModelMetadata, language: WrapperLanguage) -> dict[str, str]:
    export_format = metadata.model_info.export_format
    if language is WrapperLanguage.PYTHON:
        mask = MASK_ARRAY if DECODERS[metadata.postprocessing.decoder].masks else ""
        return {"mask": mask, "note": PYTHON_NOTES.get(export_format, "")}
    if language is WrapperLanguage.CPP:
        runtime, find = CPP_RUNTIMES[export_format]
        standard = "LibTorch asks for C++20" if export_format is ExportFormat.TORCHSCRIPT else "GCC, Clang or MSVC"
        note = "LiteRT and TensorRT run one picture or batch at a time." if export_format in _ONE_AT_A_TIME else ""
        return {"runtime": runtime, "find": find, "standard": standard, "note": note}
    if language is WrapperLanguage.KOTLIN:
        note, commands, example = KOTLIN[export_format]
        text = (files("packager") / "templates" / "languages" / f"kotlin-{example}.md").read_text(encoding="utf-8")
        return {
            "note": note,
            "commands": commands,
            "example": text.replace("model.tflite", metadata.model_file).rstrip(),
        }
    return {"note": SWIFT[export_format], "model_file": metadata.model_file}


_ONE_AT_A_TIME = (ExportFormat.TFLITE, ExportFormat.TENSORRT)
