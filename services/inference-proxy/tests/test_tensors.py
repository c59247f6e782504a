"""KServe v2 with binary tensors: what we write, and what we refuse to read."""

import msgspec
import numpy as np
import pytest

from inference_proxy.tensors import RequestTemplate, TensorError

TEMPLATE = RequestTemplate(input_name="images", outputs=("boxes", "scores"))


def answer(*outputs: tuple[str, np.ndarray, dict[str, object]], extra: bytes = b"") -> tuple[bytes, int]:
    """An answer's body and the length of its JSON part."""
    listed = []
    raw = b""
    for name, array, changes in outputs:
        size = {"binary_data_size": array.nbytes}
        listed.append({"name": name, "datatype": "FP32", "shape": array.shape, "parameters": size} | changes)
        raw += array.tobytes()
    head = msgspec.json.encode({"model_name": "m", "outputs": listed})
    return head + raw + extra, len(head)


BOXES = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
SCORES = np.array([[0.5, 0.25]], np.float32)


def test_request_is_what_kserve_describes() -> None:
    tensor = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    head, raw = TEMPLATE.body(tensor)
    assert msgspec.json.decode(head) == {
        "inputs": [
            {"name": "images", "shape": [1, 2, 2, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 12}}
        ],
        "outputs": [
            {"name": "boxes", "parameters": {"binary_data": True}},
            {"name": "scores", "parameters": {"binary_data": True}},
        ],
    }
    assert raw == tensor.tobytes()


def test_shapes_of_one_model_may_differ_between_requests() -> None:
    heads = [TEMPLATE.body(np.zeros((1, 3, size, size), np.float32))[0] for size in (8, 16, 8)]
    assert heads[0] == heads[2] != heads[1]


def test_answer_is_read_back() -> None:
    arrays = TEMPLATE.read(*answer(("scores", SCORES, {}), ("boxes", BOXES, {})))
    np.testing.assert_array_equal(arrays["boxes"], BOXES)
    np.testing.assert_array_equal(arrays["scores"], SCORES)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [1, 2, 5]},
        {"shape": [-1, -2, 4]},
        {"shape": [2**40, 2**40, 4]},
        {"shape": "wide"},
        {"datatype": "BYTES"},
        {"parameters": {"binary_data_size": -1}},
        {"parameters": {"binary_data_size": 2**40}},
        {"parameters": {}},
        {"name": "other"},
    ],
)
def test_answer_that_does_not_add_up_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TensorError):
        TEMPLATE.read(*answer(("boxes", BOXES, changes), ("scores", SCORES, {})))


def test_truncated_padded_and_headless_answers_are_refused() -> None:
    body, length = answer(("boxes", BOXES, {}), ("scores", SCORES, {}))
    for bad, head in [(body[:-1], length), (body + b"x", length), (body, 0), (body, len(body) + 1), (body, 5)]:
        with pytest.raises(TensorError):
            TEMPLATE.read(bad, head)
