"""Where every object lies in the bucket: the design's tree, spelt once."""

from pathlib import PurePosixPath
from uuid import UUID

from msgspec import Struct

from contracts.vocabulary import DeploymentType, ExportFormat

MODEL_FILES: dict[ExportFormat, str] = {
    ExportFormat.ONNX: "model.onnx",
    ExportFormat.TENSORRT: "model.engine",
    ExportFormat.COREML: "model.mlpackage.zip",
    ExportFormat.TFLITE: "model.tflite",
    ExportFormat.OPENVINO: "model.openvino.zip",
    ExportFormat.TORCHSCRIPT: "model.torchscript",
}
"""The artefact as one stored object."""
PACKAGED_MODELS: dict[ExportFormat, str] = {
    **MODEL_FILES,
    ExportFormat.COREML: "model.mlpackage",
    ExportFormat.OPENVINO: "model.xml",
}
"""What of a package its reader opens: formats of several files are stored as a zip and lie unpacked in a package."""
UPLOADS = "uploads"
PRODUCTS = frozenset({"exports", "kept-exports", "preflights", "edge-packages", "container-packages", "triton-models"})
"""First folders of what we make ourselves."""
PACKAGE = "export-package.zip"
METADATA = "metadata.json"
PARITY_REPORT = "parity_report.json"
GOLDENS = "golden_vectors.safetensors"
LABELS = "labels.txt"
SBOM = "provenance/sbom.cdx.json"
STATEMENT = "provenance/statement.intoto.json"
SIGNATURE = "provenance/model.sig"
LOG = "log.txt"


class ObjectRef(Struct, frozen=True, kw_only=True):
    """One stored object: its key, the SHA-256 of its bytes in hex, and its size."""

    key: str
    sha256: str
    size_bytes: int


def upload(user_id: UUID, upload_id: UUID, filename: str) -> str:
    """Only the last path component of `filename` is used."""
    return f"uploads/{user_id}/{upload_id}/{PurePosixPath(filename.replace(chr(92), '/')).name}"


def is_checkpoint_of(key: str, user_id: UUID) -> bool:
    """Whether an object may be opened as a checkpoint of the user: an upload of its own, or what a platform service put beside our trees."""
    root, _, rest = key.partition("/")
    return rest.startswith(f"{user_id}/") if root == UPLOADS else bool(rest) and root not in PRODUCTS


def export_root(job_id: UUID) -> str:
    return f"exports/{job_id}/"


def export_file(job_id: UUID, path: str) -> str:
    return export_root(job_id) + path


def attempt_file(job_id: UUID, attempt: int, path: str) -> str:
    """What a worker writes; a worker that was overtaken never touches its successor's files."""
    return f"exports/{job_id}/attempts/{attempt}/{path}"


def package_claim(job_id: UUID) -> str:
    """Which attempt the job's package is made of: written once, by whoever takes it first."""
    return f"exports/{job_id}/attempts/packaged.json"


def kept_export(user_id: UUID, digest: str) -> str:
    """What an export of this user made, for its next one that is identical."""
    return f"kept-exports/{user_id}/{digest}.json"


def preflight(user_id: UUID, digest: str) -> str:
    """What a preflight foresaw, kept for the same user's next one of the same digest."""
    return f"preflights/{user_id}/{digest}.json"


def edge_package(deployment_id: UUID) -> str:
    return f"edge-packages/{deployment_id}.zip"


def container_package(deployment_id: UUID) -> str:
    return f"container-packages/{deployment_id}.zip"


def deployed_package(deployment_type: DeploymentType, deployment_id: UUID) -> str:
    """Where the zip of an edge or container package lies; KeyError for deployments that have none of their own."""
    return {DeploymentType.EDGE_PACKAGE: edge_package, DeploymentType.CONTAINER: container_package}[deployment_type](
        deployment_id
    )


def triton_root(deployment_id: UUID) -> str:
    return f"triton-models/{deployment_id}/"


def triton_model(deployment_id: UUID, model_version: int, export_format: ExportFormat) -> str:
    return f"{triton_root(deployment_id)}{model_version}/{MODEL_FILES[export_format]}"


def triton_config(deployment_id: UUID) -> str:
    return f"{triton_root(deployment_id)}config.pbtxt"


def triton_model_name(deployment_id: UUID) -> str:
    """The model's name inside Triton."""
    return f"d-{deployment_id.hex}"
