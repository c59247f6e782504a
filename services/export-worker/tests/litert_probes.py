"""`python litert_probes.py` in the environment that has LiteRT: prints, as one line of JSON, what small models do in it."""

import copy
import json
import tempfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from litert_torch import fx_infra
from litert_torch.backend.lowerings import registry

from contracts.errors import Permanent
from export_worker.formats.tflite_foresight import known
from export_worker.formats.tflite_lowering import lower
from export_worker.parity.divergence import Recorder
from export_worker.runtimes.tflite import TfliteRuntime
from export_worker.runtimes.tflite_layers import layers

PICTURE = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
ALLOWED = 1e-4


class Counts(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.histc(x)


class Doubtful(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else x + 1


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = 10000.0 ** (torch.arange(6, dtype=torch.float64) / 6)
        return ((x.double() / scale) ** 1.5 + scale.log()).float()


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).sigmoid()


class Net(torch.nn.Module):
    """Two outputs, a folded normalisation, a container."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = Block(), torch.nn.Conv2d(8, 4, 1)
        self.act, self.pool = torch.nn.Hardswish(), torch.nn.AdaptiveAvgPool2d(1)
        self.head = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inner = self.act(self.second(self.first(x)))
        return inner, self.head(self.pool(inner).flatten(1))


def file_of(module: torch.nn.Module, names: list[str], folder: Path) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(lower(module.eval(), names, PICTURE, lambda fraction: None).model)
    return path


def refused(module: torch.nn.Module) -> Permanent:
    try:
        lower(module.eval(), ["out"], PICTURE, lambda fraction: None)
    except Permanent as error:
        return error
    raise AssertionError("it was converted")


def differing(path: Path, module: torch.nn.Module) -> tuple[str | None, int]:
    """The first layer over the tolerance, and how many were compared."""
    pairs = list(layers(SimpleNamespace(path=path), PICTURE.numpy(), Recorder(module).run(PICTURE.numpy())))
    wrong = (pair.layer for pair in pairs if not np.allclose(pair.expected, pair.measured, rtol=ALLOWED, atol=ALLOWED))
    return next(wrong, None), len(pairs)


def faulty(net: Net, folder: Path, layer: str) -> str | None:
    """The first layer that differs from `net` in a file made of a net with spoilt weights in `layer`."""
    spoilt = copy.deepcopy(net)
    spoilt.get_submodule(layer).weight.data *= 1.5
    return differing(file_of(spoilt, ["inner", "out"], folder), net)[0]


def operators() -> list[str]:
    """Names that the list has too many or too few."""
    tables = (
        registry.global_registry.registered_ops,
        fx_infra.decomp.pre_convert_decomp(),
        fx_infra.decomp.pre_lower_decomp(),
    )
    packets = {
        str(getattr(each, "overloadpacket", each))
        for table in tables
        for each in table
        if getattr(each, "_schema", None)
    }
    own = {name for name in packets if name.startswith(("aten.", "prims.")) and "_backward" not in name}
    return sorted(own ^ known())


def main() -> None:
    answers: dict[str, Any] = {}
    lacking = refused(torch.nn.Sequential(OrderedDict(counts=torch.nn.Sequential(OrderedDict(deep=Counts())))))
    answers["lacking"] = [lacking.code, getattr(lacking, "operator", "")]
    answers["untraceable"] = refused(Doubtful()).code
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lowered = lower(Double().eval(), ["out"], PICTURE, lambda fraction: None)
        (folder / "double").write_bytes(lowered.model)
        (made,) = TfliteRuntime(folder / "double", ["out"])(PICTURE.numpy())
        difference = float(np.abs(made - Double()(PICTURE).numpy()).max())
        answers["float64"] = {"narrowed": lowered.narrowed, "difference": difference}
        net = Net().eval().to(memory_format=torch.channels_last)  # as training leaves weights
        path = file_of(net, ["z_inner", "a_out"], folder)
        answers["outputs"] = [list(each.shape) for each in TfliteRuntime(path, ["z_inner", "a_out"])(PICTURE.numpy())]
        answers["sound"], answers["compared"] = differing(path, net)
        answers["faults"] = {layer: faulty(net, folder, layer) for layer in ("first.conv", "second")}
    answers["operators"] = operators()
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
