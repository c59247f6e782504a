"""A part of the zoo: what is foretold of small architectures is what becomes of them, and a refusal names its operator."""

from pathlib import Path
from typing import NamedTuple

import pytest

from bench.zoo_cells import ASKED, Cell
from bench.zoo_models import ZOO
from bench.zoo_report import shares
from contracts.errors import Permanent
from contracts.export_options import parse_export_options
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Proof

from .exporting import Case, export
from .test_forecast import look

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
X = ExportFormat
FORMATS = (X.ONNX, X.TORCHSCRIPT, X.OPENVINO, X.TENSORRT, X.COREML)
"""LiteRT lives in an environment of its own: `python -m bench.zoo` makes its exports too."""
LABELS = ("timm/mobilenetv3_small_050", "huggingface/Yolos", "huggingface/Segformer")
PROOFS = {X.TENSORRT: Proof.BUILT, X.COREML: Proof.EVALUATED}


class Seen(NamedTuple):
    """A model's checkpoint, and what is foretold of it."""

    case: Case
    foretold: dict[ExportFormat, Forecast]


def seen(label: str, folder: Path) -> Seen:
    model = ZOO[label]
    case = Case(
        checkpoint=model.build(folder), framework=model.framework, task=model.task, model=model.name, config=model.config
    )  # fmt: skip
    wishes = [parse_export_options(target, ASKED.get(target)) for target in FORMATS]
    return Seen(case, look(folder / "look", case, *wishes))


@pytest.fixture(scope="module", params=LABELS)
def specimen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return seen(request.param, tmp_path_factory.mktemp("zoo"))


@pytest.mark.parametrize("target", FORMATS)
def test_what_is_foretold_to_work_works(specimen: Seen, target: ExportFormat, tmp_path: Path):
    foretold = specimen.foretold[target]
    got = export(tmp_path, specimen.case, target, ASKED.get(target))

    assert foretold.supported, foretold.reason
    assert got.metadata.parity.proof is foretold.proof is PROOFS.get(target, Proof.VERIFIED)
    assert got.metadata.provenance.route == foretold.route


REFUSED = "timm/volo_d1_224"
OPERATORS = {X.ONNX: "aten::col2im", X.OPENVINO: "aten::col2im", X.TENSORRT: "aten::col2im", X.COREML: "col2im"}


def test_a_refusal_names_the_operator_and_the_export_ends_as_foretold(tmp_path: Path):
    case, foretold = seen(REFUSED, tmp_path)

    assert {target: one.supported for target, one in foretold.items()} == {
        target: target not in OPERATORS for target in FORMATS
    }
    for target, operator in OPERATORS.items():
        assert operator in foretold[target].operator
        with pytest.raises(Permanent) as ended:
            export(tmp_path / str(target), case, target, ASKED.get(target))
        assert ended.value.code == foretold[target].code
        assert ended.value.operator == foretold[target].operator


def test_shares_of_a_score_are_of_failures_and_of_what_worked():
    def cell(*, said: bool, worked: bool) -> Cell:
        return Cell(
            label="x", task="image_classification", format=X.ONNX, foretold=Forecast(format=X.ONNX, supported=said),
            proof=Proof.VERIFIED if worked else None,
        )  # fmt: skip

    right, alarm = cell(said=True, worked=True), cell(said=False, worked=True)
    missed, told = cell(said=True, worked=False), cell(said=False, worked=False)

    assert shares([right, right, right, alarm, missed, told, told, told]) == (0.75, 0.25)
    assert shares([right]) == (1.0, 0.0)
