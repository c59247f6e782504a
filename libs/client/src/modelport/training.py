"""Checkpoints and the trainings that they come from."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from contracts.vocabulary import Framework, TaskType
from modelport import transfer
from modelport.models import ExportJob, Page, TrainingJob, UploadTicket
from modelport.paging import everything
from modelport.transport import IDEMPOTENCY_KEY, Transport

PATH = "/api/v1/training"


class Training:
    """/api/v1/uploads and /api/v1/training."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(self, path: Path, progress: transfer.Progress = transfer.no_progress) -> str:
        """Put a local file, or the zip of a folder, into the platform's bucket; the answer is its `s3://` URI."""
        with transfer.as_one_file(path) as file:
            asked = {"filename": file.name, "size_bytes": file.stat().st_size, "sha256": transfer.sha256_of(file)}
            headers = {IDEMPOTENCY_KEY: str(uuid4())}
            ticket = self._transport.call("POST", "/api/v1/uploads", UploadTicket, body=asked, headers=headers)
            transfer.put_file(ticket.upload_url, ticket.headers, file, progress)
        return ticket.uri

    def register(
        self,
        *,
        framework: Framework | str,
        task_type: TaskType | str,
        model_name: str,
        checkpoint_path: str,
        classes: Sequence[str] | None = None,
        config: dict[str, object] | None = None,
    ) -> TrainingJob:
        """Make a stored checkpoint known; `checkpoint_path` is the URI that `upload` answered."""
        body: dict[str, object] = {
            "framework": str(framework),
            "task_type": str(task_type),
            "model_name": model_name,
            "checkpoint_path": checkpoint_path,
        }
        optional = {"classes": classes and [*classes], "config": config}
        body |= {name: value for name, value in optional.items() if value is not None}
        return self._transport.call("POST", PATH, TrainingJob, body=body, headers={IDEMPOTENCY_KEY: str(uuid4())})

    def get(self, training_job_id: UUID | str) -> TrainingJob:
        return self._transport.call("GET", f"{PATH}/{training_job_id}", TrainingJob)

    def list(self, limit: int | None = None) -> Iterator[TrainingJob]:
        """Newest first; pages are fetched as they are needed."""
        return everything(self._transport, PATH, Page[TrainingJob], limit=limit)

    def exports(self, training_job_id: UUID | str, limit: int | None = None) -> Iterator[ExportJob]:
        """The exports of one training."""
        return everything(self._transport, f"{PATH}/{training_job_id}/exports", Page[ExportJob], limit=limit)
