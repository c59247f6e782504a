"""`python -m gateway.describe` prints the OpenAPI document; it needs no server and is the same for the same code."""

import sys

import msgspec
from litestar import Litestar

from gateway.app import describe


def document(app: Litestar) -> bytes:
    """The document as JSON, keys in their order, two spaces."""
    return msgspec.json.format(msgspec.json.encode(app.openapi_schema.to_schema()), indent=2) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(document(describe()))
