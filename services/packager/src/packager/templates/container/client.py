"""Asks the container of this package for the predictions of a picture.

`python runtimes/python/client.py picture.jpg [--url http://localhost:8000]`. The tensor travels as bytes (the binary tensor data
extension of https://github.com/kserve/open-inference-protocol); preprocessing and decoding are those beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from processing import images
from processing.errors import ProcessingError
from processing.pipeline import Pipeline

PACKAGE = Path(__file__).resolve().parents[2]
Array = NDArray[Any]
TYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "INT8": "i1",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
CONNECTIONS = {"http": HTTPConnection, "https": HTTPSConnection}
PATIENCE_S = 60.0
OK = 200


class ServerError(Exception):
    """The container does not answer, or refuses; the message says why."""


class Served:
    """The model in a running container; may be used by several threads."""

    def __init__(self, url: str, metadata: dict[str, Any]) -> None:
        """Raises ServerError for an address that is none."""
        self._scheme, self._host, path, *_ = urlsplit(url)
        if self._scheme not in CONNECTIONS:
            raise ServerError(f"{url!r} is no address such as http://localhost:8000")
        self._path = f"{path.rstrip('/')}/v2/models/model/infer"
        self.pipeline = Pipeline.from_metadata(metadata)
        self.batch = max(1, int(metadata["input_spec"]["shape"][0]))

    def predict(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Predictions of RGB pixels [height, width, 3], as the Python wrapper gives them."""
        tensor, geometry = self.pipeline.preprocess(image)
        outputs = self.run(np.repeat(tensor, self.batch, axis=0))
        found = self.pipeline.postprocess({name: output[:1] for name, output in outputs.items()}, geometry)
        return [prediction.as_dict() for prediction in found]

    def run(self, tensor: Array) -> dict[str, Array]:
        """The served model alone: its input tensor to its outputs by name. Raises ServerError where it does not answer, or refuses."""
        kinds = {np.dtype(code): name for name, code in TYPES.items()}
        data = np.ascontiguousarray(tensor).tobytes()
        described = {
            "name": self.pipeline.input_name,
            "shape": tensor.shape,
            "datatype": kinds[tensor.dtype],
            "parameters": {"binary_data_size": len(data)},
        }
        head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
        connection = CONNECTIONS[self._scheme](self._host, timeout=PATIENCE_S)
        try:
            connection.request("POST", self._path, head + data, headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise ServerError(f"{self._host} does not answer: {error!r}") from error
        finally:
            connection.close()
        if answer.status != OK:
            raise ServerError(f"{self._host} answers {answer.status}: {body.decode(errors='replace')}")
        return _outputs(body, int(answer.headers["Inference-Header-Content-Length"]))


def _outputs(body: bytes, head: int) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for output in json.loads(body[:head])["outputs"]:
        kind = np.dtype(TYPES[output["datatype"]])
        size = int(output["parameters"]["binary_data_size"])
        found[output["name"]] = np.frombuffer(body, kind, size // kind.itemsize, head).reshape(output["shape"])
        head += size
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="a JPEG, PNG, WebP or BMP file")
    parser.add_argument("--url", default="http://localhost:8000", help="where the container answers")
    given = parser.parse_args()
    try:
        served = Served(given.url, json.loads((PACKAGE / "metadata.json").read_text(encoding="utf-8")))
        image = images.decode(given.picture.read_bytes(), apply_orientation=served.pipeline.format.exif)
        predictions = served.predict(image)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, ProcessingError) as error:
        print(f"{given.picture}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(predictions, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
