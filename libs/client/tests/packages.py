"""Small signed packages, made by the packager's own modules of files that need no model."""

from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from contracts import keys
from contracts import model_package as mp
from contracts import vocabulary as v
from packager import archive, metadata, provenance
from packager.provenance.signing import Signer

VERIFY = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
good = (folder / "model.onnx").read_bytes() == b"model" * 100
print("model", "ok" if good else "FAILED")
print(f"{int(good)} of 1 checks passed")
sys.exit(not good)
"""


def signer():
    return Signer(ec.generate_private_key(ec.SECP256R1()))


def described(**changes):
    tensor = {"dtype": "float32", "format": "NCHW"}
    made = mp.ModelMetadata(
        model_info=mp.ModelInfo(
            framework=v.Framework.TIMM,
            task_type=v.TaskType.IMAGE_CLASSIFICATION,
            model_name="tiny",
            export_format=v.ExportFormat.ONNX,
        ),
        model_file="model.onnx",
        preprocessing=mp.Preprocessing(
            resize=mp.Resize(method=v.ResizeMethod.STRETCH, size=(8, 8), kernel=v.Kernel.PIL_BILINEAR),
            normalize=mp.Normalize(),
            format=mp.TensorFormat(),
        ),
        postprocessing=mp.Postprocessing(decoder=v.Decoder.SOFTMAX, nms=mp.Nms(), output_format=mp.OutputFormat()),
        input_spec=mp.TensorSpec(name="images", shape=(1, 3, 8, 8), **tensor),
        output_spec={"logits": mp.TensorSpec(name="logits", shape=(1, 2), **tensor)},
        classes=(mp.ModelClass(id=0, name="a"), mp.ModelClass(id=1, name="b")),
        parity=mp.ParitySummary(
            proof=v.Proof.VERIFIED,
            inputs=32,
            non_square_inputs=16,
            outputs=(mp.OutputParity(name="logits", max_abs=1e-6, mean_abs=1e-7, cosine=1.0, max_abs_allowed=1e-3),),
            predictions_source=32,
            predictions_matched=32,
            max_confidence_difference=1e-7,
        ),
        provenance=mp.Provenance(
            checkpoint_sha256="ab" * 32, export_options={}, optimization={}, toolchain={"torch": "2.14.1"}
        ),
        sizes=mp.Sizes(original_size_bytes=1000, exported_size_bytes=500, compression_ratio=2.0),
    )
    return msgspec.structs.replace(made, **changes)


def members(folder: Path, signed_by: Signer | None, **changes):
    """The files of a package below `folder`, by their path in it."""
    texts = {
        "README.md": b"# tiny\n",
        "model.onnx": b"model" * 100,
        "empty.txt": b"",
        "build.sh": b"#!/bin/sh\n",
        "runtimes/python/verify.py": VERIFY.encode(),
        "runtimes/python/requirements.txt": b"# Python 3.11 or newer\nmsgspec\n",
    }
    texts |= changes.pop("texts", {})
    files = archive.written(folder, texts) | changes.pop("large", {})
    made = metadata.complete(provenance.named(described(**changes), signed_by), {}, files)
    files |= archive.written(folder, {keys.METADATA: metadata.encode(made)})
    return provenance.seal(files, made, folder, signed_by)


def zipped(folder: Path, signed_by: Signer | None, name="package.zip", **changes) -> Path:
    """A package as its zip."""
    target = folder / name
    archive.write(target, members(folder / name.partition(".")[0], signed_by, **changes))
    return target
