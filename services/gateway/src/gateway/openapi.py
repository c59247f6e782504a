"""How the OpenAPI document is made, and a page that shows it without any network."""

from importlib.resources import files
from typing import Any

from litestar import Request
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar._openapi.schema_generation.schema import SchemaCreator
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, Schema, SecurityScheme
from litestar.typing import FieldDefinition

PATH = "/schema"


class PagePlugin(OpenAPIRenderPlugin):
    """One static page of our own that draws the document; nothing comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return (files("gateway") / "static" / "openapi.html").read_bytes()


class ClosedStructs(StructSchemaPlugin):
    """Litestar's own, and it tells which bodies take no fields but their own."""

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        schema = super().to_openapi_schema(field_definition, schema_creator)
        if field_definition.type_.__struct_config__.forbid_unknown_fields:
            schema.additional_properties = False
        return schema


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
