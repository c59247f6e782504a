"""`python -m bench.divergence [--formats onnx,openvino,…]`: does the report name the right layer? One fault in one layer, many times.

Each case converts a copy of a model in which one layer is wrong (weights perturbed, epsilon changed, resize mode switched) and asks
`parity.divergence` where the artefact begins to differ from the sound model. Weights are random, normalisation statistics too. `tflite`
runs in the environment of its toolchain: `.venv-litert/bin/python -m bench.divergence --formats tflite`.
"""

import argparse
import copy
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np
import timm
import torch
from msgspec import structs

from contracts.events.export import ExportRequestedV1
from contracts.export_options import parse_export_options
from contracts.model_package import Normalize, Preprocessing, Resize, TensorFormat
from contracts.vocabulary import ExportFormat, Framework, Kernel, ResizeMethod, TaskType
from export_worker import registry
from export_worker.frameworks.classification import classification
from export_worker.loaded import Loaded, Output, Work
from export_worker.parity import divergence
from export_worker.parity.tolerances import tolerance

SIDE = 64
NORMS = (torch.nn.BatchNorm2d, torch.nn.LayerNorm, torch.nn.GroupNorm)
CONVOLUTIONS = (torch.nn.Conv2d, torch.nn.Linear)
LAYERS_OF_A_KIND = 5


class UNet(torch.nn.Module):
    """A small model with resizing layers inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, 2, 1), torch.nn.BatchNorm2d(16), torch.nn.ReLU())
        self.down = torch.nn.Sequential(torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.GroupNorm(4, 32), torch.nn.ReLU())
        self.up = torch.nn.Upsample(scale_factor=2, mode="nearest")
        self.middle = torch.nn.Conv2d(32, 16, 3, 1, 1)
        self.out = torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.head = torch.nn.Conv2d(16, 5, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.down(self.stem(images))
        answer: torch.Tensor = self.head(self.out(self.middle(self.up(x))))
        return answer


MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "resnet10t": lambda: timm.create_model("resnet10t", num_classes=10),
    "mobilenetv3_small_050": lambda: timm.create_model("mobilenetv3_small_050", num_classes=10),
    "vit_tiny": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=SIDE, depth=4),
    "unet": UNet,
}


class Fault(NamedTuple):
    """What is done to one layer; `fits` tells to which."""

    fits: Callable[[torch.nn.Module], bool]
    spoil: Callable[[torch.nn.Module], None]


def _perturb(layer: torch.nn.Module) -> None:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    weight.data[0] = weight.data[0] * 1.5 + 0.5 * weight.data.std()


def _other_epsilon(layer: torch.nn.Module) -> None:
    layer.eps = 0.1


def _other_mode(layer: torch.nn.Module) -> None:
    assert isinstance(layer, torch.nn.Upsample)
    layer.mode, layer.align_corners = ("bilinear", False) if layer.mode == "nearest" else ("nearest", None)


FAULTS: dict[str, Fault] = {
    "weights": Fault(lambda layer: isinstance(layer, CONVOLUTIONS), _perturb),
    "epsilon": Fault(lambda layer: isinstance(layer, NORMS), _other_epsilon),
    "resize": Fault(lambda layer: isinstance(layer, torch.nn.Upsample), _other_mode),
}


class Case(NamedTuple):
    model: str
    fault: str
    layer: str


def cases(models: dict[str, Loaded]) -> Iterator[Case]:
    """A handful of layers, evenly spread over the depth, of each model and fault."""
    for name, loaded in models.items():
        for fault, kind in FAULTS.items():
            fitting = [path for path, layer in loaded.module.named_modules() if kind.fits(layer)]
            step = max(1, len(fitting) // LAYERS_OF_A_KIND)
            yield from (Case(name, fault, path) for path in fitting[::step][:LAYERS_OF_A_KIND])


def load(make: Callable[[], torch.nn.Module]) -> Loaded:
    torch.manual_seed(0)
    module = make().eval().requires_grad_(False)
    for layer in module.modules():
        if isinstance(layer, NORMS):
            for name, low, high in (("weight", 0.75, 1.25), ("bias", -0.1, 0.1), ("running_var", 0.75, 1.25)):
                if isinstance(values := getattr(layer, name, None), torch.Tensor):
                    values.data.uniform_(low, high)
    return Loaded(
        module=module,
        source=lambda picture, confidence, iou: (_ for _ in ()).throw(RuntimeError("no pictures here")),
        preprocessing=Preprocessing(
            resize=Resize(method=ResizeMethod.STRETCH, size=(SIDE, SIDE), kernel=Kernel.PIL_BILINEAR),
            normalize=Normalize(),
            format=TensorFormat(),
        ),
        postprocessing=classification(),
        outputs=(Output("logits", "[batch, class]"),),
        example=torch.zeros(1, 3, SIDE, SIDE),
        classes=tuple(map(str, range(10))),
        source_size_bytes=1,
        toolchain={},
    )


def named(case: Case, loaded: Loaded, target: ExportFormat, folder: Path) -> tuple[str, str]:
    """The layer and the cause that the report names for this fault."""
    spoilt = copy.deepcopy(loaded.module)
    FAULTS[case.fault].spoil(spoilt.get_submodule(case.layer))
    asked = ExportRequestedV1(
        job_id=UUID(int=1), user_id=UUID(int=2), training_job_id=UUID(int=3), version=1, framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION, model_name=case.model, checkpoint_path="", checkpoint_max_bytes=1,
        export_format=target, options=parse_export_options(target, OPTIONS.get(target)),
    )  # fmt: skip
    checkpoint = folder / "checkpoint"
    checkpoint.write_bytes(b"none")
    (folder / "output").mkdir(exist_ok=True)
    work = Work(
        request=asked,
        folder=folder,
        checkpoint=checkpoint,
        progress=lambda fraction, message: None,
        loaded=structs.replace(loaded, module=spoilt),
    )
    for hop in registry.route(target):
        work = registry.resolve(hop.entry)(work)
    artefact = work.need_artefact()
    sound = copy.deepcopy(artefact.graph)
    sound.get_submodule("model").load_state_dict(loaded.module.state_dict())
    sound.model = copy.deepcopy(loaded.module)
    picture = np.random.default_rng(0).integers(0, 256, artefact.input_spec.shape[1:]).astype(artefact.input_spec.dtype)
    found = divergence.first(structs.replace(artefact, graph=sound), picture[None], tolerance(target))
    return (found.layer.removeprefix("model."), found.cause) if found else ("", "")


OPTIONS: dict[ExportFormat, dict[str, object]] = {ExportFormat.COREML: {"precision": "fp32"}}
WORDS = {
    "weights": {"weights", "folded_batch_norm"},
    "epsilon": {"epsilon", "folded_batch_norm"},
    "resize": {"resize_mode"},
}


def is_right(found: str, case: Case, loaded: Loaded) -> bool:
    """The layer itself, or the normalisation right behind it, into which the converter has folded it."""
    paths = [path for path, layer in loaded.module.named_modules() if isinstance(layer, (*NORMS, *CONVOLUTIONS))]
    behind = paths[paths.index(case.layer) + 1 :][:1] if case.layer in paths else []
    return found == case.layer or (found in behind and isinstance(loaded.module.get_submodule(found), NORMS))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.divergence", description=__doc__)
    parser.add_argument("--formats", default="onnx,openvino,torchscript")
    parser.add_argument("--at-most", type=int, default=1000, help="cases of each format")
    options = parser.parse_args(arguments)
    models = {name: load(make) for name, make in MODELS.items()}
    right: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for target in map(ExportFormat, options.formats.split(",")):
        for case in list(cases(models))[: options.at_most]:
            with tempfile.TemporaryDirectory() as folder:
                layer, cause = named(case, models[case.model], target, Path(folder))
            total[target] += 1
            right[target] += is_right(layer, case, models[case.model])
            causes[target] += cause in WORDS[case.fault]
            if not is_right(layer, case, models[case.model]) or cause not in WORDS[case.fault]:
                print(
                    f"{target}: {case.model}, {case.fault} in {case.layer}: told {layer or 'nothing'} ({cause})",
                    flush=True,
                )
    print("| format | faults | right layer | right cause |\n|---|---|---|---|")
    for told in total:
        print(f"| {told} | {total[told]} | {right[told]} | {causes[told]} |")
    hit, count = right.total(), total.total()
    print(f"\n{hit} of {count}: {100 * hit / count:.1f} %")
    return 0 if hit >= 0.95 * count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
