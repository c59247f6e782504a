"""The OpenAPI document, and a page that shows it without any network.

`python -m gateway.openapi` prints the document; it needs no server and is the same for the same code.
"""

import sys
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

PATH = "/schema"


class PagePlugin(OpenAPIRenderPlugin):
    """One static page of our own that draws the document; nothing comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return (files("gateway") / "static" / "openapi.html").read_bytes()


def config() -> OpenAPIConfig:
    """For `Litestar(openapi_config=…)`."""
    bearer = SecurityScheme(type="http", scheme="bearer", description="A user's token, `mp_…`.")
    return OpenAPIConfig(
        title="Modelport",
        version="1",
        description="Turns a trained vision checkpoint into a verified, deployable package or a live endpoint.",
        path=PATH,
        render_plugins=[PagePlugin(), JsonRenderPlugin(path="/openapi.json")],
        components=Components(security_schemes={"bearer": bearer}),
        security=[{"bearer": []}],
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, method, path: handler.handler_name,
    )


def document(app: Litestar) -> bytes:
    """The document as JSON, keys in their order, two spaces."""
    return msgspec.json.format(msgspec.json.encode(app.openapi_schema.to_schema()), indent=2) + b"\n"


if __name__ == "__main__":
    from gateway.app import describe

    sys.stdout.buffer.write(document(describe()))
