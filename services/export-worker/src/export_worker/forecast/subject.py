"""One checkpoint as the checks look at it: loaded once for all of them, and one ONNX file for all formats that are made from the same."""

from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct, structs

from contracts.errors import Permanent
from contracts.events import ExportRequestedV1, PreflightRequestedV1
from contracts.export_options import CommonOptions, ExportOptions, OnnxOptions, OpenVinoOptions
from contracts.optimization import OptimizationConfig
from contracts.precision import precision
from contracts.vocabulary import ExportFormat, Precision
from export_worker import registry
from export_worker.formats.graph import Embedding, dry_run
from export_worker.loaded import Loaded, Progress, Work, begin

T = TypeVar("T")


class Wish(Struct, frozen=True, kw_only=True):
    """One format with its options."""

    format: ExportFormat
    options: ExportOptions
    optimization: OptimizationConfig
    precision: Precision

    @classmethod
    def of(cls, options: ExportOptions, optimization: OptimizationConfig) -> "Wish":
        """Raises Permanent("unsupported") for arithmetic that the format has not."""
        name = ExportFormat(str(options.__struct_config__.tag))
        return cls(format=name, options=options, optimization=optimization, precision=precision(options, optimization))


class Finding(NamedTuple):
    """What a check has seen beside that it works.

    size_bytes  of the artefact, where one was made
    note        what was not looked at, and why
    """

    rewrites: tuple[str, ...] = ()
    size_bytes: int | None = None
    note: str = ""


class Subject:
    """What the checks share; whatever they do to a file or to a module that they were lent, they do to a copy."""

    def __init__(self, request: PreflightRequestedV1, folder: Path, progress: Progress) -> None:
        self._request = request
        self._folder = folder
        self._progress = progress
        self._loaded: dict[bytes, Loaded | Permanent] = {}
        self._onnx: dict[bytes, Work | Permanent] = {}

    def loaded(self, options: ExportOptions) -> Loaded:
        """The checkpoint for pictures of the asked size, run once; raises what its framework's loader raises, or the size's refusal."""
        key = _key(options.image_size, _has_dynamic_size(options))
        if key not in self._loaded:
            try:
                loader = registry.resolve(registry.LOADERS[self._request.framework])
                made: Loaded = loader(self._begun(options, OptimizationConfig(), "load")).need_loaded()
                plain = Embedding(made, OnnxOptions(embed_preprocessing=False), ExportFormat.ONNX)
                dry_run(plain, made.example)
                self._loaded[key] = made
            except Permanent as refusal:
                self._loaded[key] = refusal
        return _or_raise(self._loaded[key])

    def work(self, wish: Wish) -> Work:
        """The state of a job for this wish once its checkpoint is loaded, in a folder of its own."""
        begun = self._begun(wish.options, wish.optimization, str(wish.format))
        return structs.replace(begun, loaded=self.loaded(wish.options))

    def onnx(self, wish: Wish) -> Work:
        """The state of a job for this wish once it has its ONNX file, which other wishes may have too."""
        options = _onnx_options(wish.options)
        arithmetic = wish.precision if wish.format is ExportFormat.ONNX else Precision.FP32
        key = _key(options, _is_reversed(wish.options), str(arithmetic))
        if key not in self._onnx:
            try:
                self._onnx[key] = self._exported(wish, options, f"onnx-{len(self._onnx)}")
            except Permanent as refusal:
                self._onnx[key] = refusal
        return structs.replace(self.work(wish), artefact=_or_raise(self._onnx[key]).artefact)

    def _exported(self, wish: Wish, options: OnnxOptions, name: str) -> Work:
        is_own = wish.format is ExportFormat.ONNX
        asked: ExportOptions = wish.options if _is_reversed(wish.options) else options
        optimization = wish.optimization if is_own else OptimizationConfig()
        begun = self._begun(asked, optimization, name)
        (hop,) = registry.route(ExportFormat.ONNX)
        work: Work = registry.resolve(hop.entry)(structs.replace(begun, loaded=self.loaded(wish.options)))
        return work

    def _begun(self, options: ExportOptions, optimization: OptimizationConfig, name: str) -> Work:
        begun = begin(self._export_request(options, optimization), self._folder, self._progress)
        folder = self._folder / "tmp" / f"forecast-{name}"
        for each in ("output", "tmp"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        return structs.replace(begun, folder=folder)

    def _export_request(self, options: ExportOptions, optimization: OptimizationConfig) -> ExportRequestedV1:
        request = self._request
        return ExportRequestedV1(
            job_id=request.preflight_id,
            user_id=request.user_id,
            training_job_id=request.training_job_id,
            version=1,
            framework=request.framework,
            task_type=request.task_type,
            model_name=request.model_name,
            checkpoint_path=request.checkpoint_path,
            checkpoint_max_bytes=request.checkpoint_max_bytes,
            classes=request.classes,
            source_config=request.source_config,
            export_format=ExportFormat(str(options.__struct_config__.tag)),
            options=options,
            optimization=optimization,
        )


def _onnx_options(options: ExportOptions) -> OnnxOptions:
    """What the ONNX file on the way to this format is made with."""
    if isinstance(options, OnnxOptions):
        return options
    return OnnxOptions(**{name: getattr(options, name) for name in CommonOptions.__struct_fields__})


def _is_reversed(options: ExportOptions) -> bool:
    arguments = options.model_optimizer_args if isinstance(options, OpenVinoOptions) else None
    return arguments is not None and arguments.reverse_input_channels


def _has_dynamic_size(options: ExportOptions) -> bool:
    """A module that was prepared for any size is not what the other formats convert."""
    axes = options.dynamic_axes if isinstance(options, OnnxOptions) else None
    return bool({2, 3} & set((axes or {}).get("input", ())))


def _key(*parts: object) -> bytes:
    return msgspec.json.encode(parts, order="sorted")


def _or_raise(found: T | Permanent) -> T:
    if isinstance(found, Permanent):
        raise found
    return found
