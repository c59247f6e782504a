"""The parity report in a terminal."""

from io import StringIO

from rich.console import Console

from modelport.cli import parity

SUMMARY = {
    "proof": "failed",
    "inputs": 32,
    "non_square_inputs": 16,
    "outputs": [{"name": "output0", "max_abs": 0.7, "mean_abs": 0.01, "cosine": 0.91, "max_abs_allowed": 0.001}],
    "predictions_source": 100,
    "predictions_matched": 61,
    "max_confidence_difference": 0.4,
    "min_iou": 0.5,
    "max_box_difference_px": 12.5,
}


def shown(report):
    console = Console(file=StringIO(), width=200)
    console.print(parity.view(report))
    return console.file.getvalue()


def test_outputs_and_predictions_are_told():
    text = shown({"summary": SUMMARY, "runtime": "onnxruntime 1.32.0", "of_a_later_version": 1})
    assert "61 of 100 matched" in text
    assert "output0" in text
    assert "7.00e-01" in text
    assert "onnxruntime 1.32.0" in text


def test_a_failure_names_what_and_where():
    report = {
        "summary": SUMMARY,
        "failures": [{"what": "output0 relative", "measured": 0.7, "allowed": 0.001, "input": 3}],
        "first_divergence": {
            "layer": "model.2",
            "module": "Conv2d",
            "tensor": "x",
            "operator": "Conv",
            "max_abs": 0.5,
            "allowed": 0.001,
            "explanation": "Only 1 of 8 channels differ.",
        },
    }
    text = shown(report)
    assert "output0 relative" in text
    assert "first differs in model.2 (Conv2d → Conv): 5.00e-01, allowed 1.00e-03" in text
    assert "Only 1 of 8" in text


def test_a_report_of_another_shape_is_printed_as_it_is():
    assert '"what": 1' in shown({"what": 1})
