"""Every route of the two public faces, what each does with another tenant's things, and who may not use it at all."""

import json
import re
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
OPEN_PATHS = {"/healthz": 200, "/readyz": 200, "/schema": 200, "/schema/openapi.json": 200, "/schema/{path:str}": 404}
"""The paths of the gateway that need no token, and what they answer."""


class Route(NamedTuple):
    """One operation of docs/openapi.json."""

    method: str
    path: str
    operation: str
    scope: str

    def at(self, ids: dict[str, str]) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], self.path)


# operation -> a body that would be accepted from the owner
OF_ONE_THING: dict[str, object] = {
    "get_training": None,
    "list_training_exports": None,
    "get_export_job": None,
    "tag_export_job": {"version_tag": "stolen"},
    "cancel_export_job": None,
    "set_default_export": None,
    "follow_export_job": None,
    "get_export_log": None,
    "get_export_report": None,
    "get_export_metadata": None,
    "get_export_trace": None,
    "get_preflight": None,
    "get_deployment": None,
    "delete_deployment": None,
    "deactivate_deployment": None,
    "reactivate_deployment": None,
    "rotate_deployment_key": None,
    "follow_deployment": None,
    "get_deployment_history": None,
    "get_deployment_usage": None,
    "get_deployment_download": None,
}
LISTS = ("list_trainings", "list_export_jobs", "list_deployments")
# operation -> (the field that names something of another tenant, the rest of the body)
MAKERS: dict[str, tuple[str, dict[str, object]]] = {
    "create_export_job": ("training_job_id", {"export_format": "onnx"}),
    "create_preflight": ("training_job_id", {}),
    "create_deployment": ("export_job_id", {"deployment_type": "download", "name": "stolen"}),
    "register_training": (
        "checkpoint_path",
        {"framework": "ultralytics", "task_type": "object_detection", "model_name": "stolen"},
    ),
}
OF_ADMINISTRATORS: dict[str, object] = {
    "list_users": None,
    "create_user": {"name": "new", "tier": "free"},
    "get_user": None,
    "update_user": {"tier": "enterprise"},
    "create_token": {"scopes": ["admin"]},
    "list_tokens": None,
    "revoke_token": None,
    "list_dead_letters": None,
    "replay_dead_letter": None,
}
OF_ONESELF: dict[str, object] = {
    "get_me": None,
    "get_capabilities": None,
    "list_signing_keys": None,
    "create_upload": {"filename": "a.pt", "size_bytes": 1, "sha256": "0" * 64},
}


def routes() -> list[Route]:
    """All operations of the document, in its order."""
    paths = json.loads(DOCUMENT.read_bytes())["paths"]
    return [
        Route(method.upper(), path, operation["operationId"], operation["security"][0]["bearer"][0])
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def route(operation: str) -> Route:
    return next(one for one in routes() if one.operation == operation)


def body_of(operation: str) -> object:
    """A well-formed body, so that nothing but the token or the tenant can be the reason of a refusal."""
    if operation in MAKERS:
        field, rest = MAKERS[operation]
        return rest | {field: str(uuid4())}
    return (OF_ONE_THING | OF_ADMINISTRATORS | OF_ONESELF).get(operation)


def known() -> set[str]:
    """Operations that the matrix has a row for."""
    return {*OF_ONE_THING, *LISTS, *MAKERS, *OF_ADMINISTRATORS, *OF_ONESELF}
