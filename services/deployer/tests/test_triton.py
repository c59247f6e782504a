"""What Triton says is shown without its machine."""

import pytest

from contracts.errors import Transient
from deployer.triton import CAUSE_CHARS, Triton, _authority, without_paths


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Load model from /tmp/folderX1/1/model.onnx failed:Protobuf parsing failed.",
         "Load model from … failed:Protobuf parsing failed."),
        ("at /srv/backends/onnxruntime/model.py(12): initialize", "at …(12): initialize"),
        ("see http://10.0.0.1:8333/bucket/key?x=1 now", "see … now"),
        ("input shape [-1,3,64,64] and/or a ratio of 1/2\n  in two lines",
         "input shape [-1,3,64,64] and/or a ratio of 1/2 in two lines"),
    ],
)  # fmt: skip
def test_paths_and_addresses_are_taken_out(text: str, shown: str) -> None:
    assert without_paths(text) == shown


def test_long_reasons_are_shortened() -> None:
    assert len(without_paths("word " * 1000)) <= CAUSE_CHARS


@pytest.mark.parametrize("url", ["127.0.0.1:8001", "grpc://127.0.0.1:8001", "http://127.0.0.1:8001/"])
def test_address_may_have_a_scheme(url: str) -> None:
    assert _authority(url) == "127.0.0.1:8001"


async def test_nobody_there_is_transient() -> None:
    triton = Triton("127.0.0.1:1", load_timeout_s=2)
    for call in (triton.check, triton.loaded):
        with pytest.raises(Transient) as caught:
            await call()
        assert caught.value.code == "unavailable"
    await triton.close()
