"""How answers look in a terminal; nothing here talks to a server."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import degrees

import msgspec
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from contracts.capabilities import Availability, ExportCapabilities
from contracts.model_package import WrapperStatus
from contracts.vocabulary import DeploymentStatus
from modelport.models import (
    ApiKey,
    DeadLetter,
    Deployment,
    DeploymentEvent,
    ExportJob,
    NewUser,
    Replayed,
    Token,
    TrainingJob,
    Usage,
    User,
)
from modelport.predictions import Inference, Prediction

ONCE = "It is shown once: keep it."
COLOURS = {
    "completed": "green",
    "active": "green",
    "verified": "green",
    "running": "cyan",
    "deploying": "cyan",
    "pending": "yellow",
    "evaluated": "yellow",
    "built": "yellow",
    "parsed": "yellow",
    "inactive": "yellow",
    "failed": "red",
    "cancelled": "magenta",
}


def table(headers: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> RenderableType:
    """A plain table, or a sentence where there is nothing; a narrow terminal wraps anything but ids."""
    columns = (Column(header, no_wrap=header == "ID", overflow="fold") for header in headers)
    grid = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        grid.add_row(*row)
    return grid if grid.row_count else Text("Nothing here yet.")


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values of one thing; empty values are left out."""
    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        if value not in (None, "", {}):
            grid.add_row(Text(name, style="bold"), value if isinstance(value, Text) else Text(str(value)))
    return grid


def word(value: object) -> Text:
    """A status or proof in its colour."""
    return Text(str(value or ""), style=COLOURS.get(str(value), ""))


def size(count: int | None) -> str:
    """Bytes as people read them."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def when(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _ago(moment: datetime | None) -> str:
    return f"{max(0, round((datetime.now(UTC) - moment).total_seconds()))} s ago" if moment else ""


def trainings(found: Sequence[TrainingJob]) -> RenderableType:
    headers = ("ID", "MODEL", "FRAMEWORK", "TASK", "CREATED")
    return table(headers, ((str(t.id), t.model_name, t.framework, t.task_type, when(t.created_at)) for t in found))


def training(found: TrainingJob) -> RenderableType:
    return facts(
        (
            ("training", found.id),
            ("model", f"{found.model_name} ({found.framework}, {found.task_type})"),
            ("checkpoint", found.checkpoint_path),
        )
    )


def exports(found: Sequence[ExportJob]) -> RenderableType:
    headers = ("ID", "VERSION", "FORMAT", "STATUS", "PROOF", "SIZE", "CREATED")
    if not any(job.waits_for for job in found):
        return table(headers, (_export_row(job) for job in found))
    return table((*headers, "WAITS FOR"), ((*_export_row(job), job.waits_for) for job in found))


def _export_row(job: ExportJob) -> tuple[RenderableType, ...]:
    version = f"v{job.version}" + (f" {job.version_tag}" if job.version_tag else "") + (" *" if job.is_default else "")
    size_text, created = size(job.model_size_bytes), when(job.created_at)
    return str(job.id), version, job.export_format, word(job.status), word(job.proof), size_text, created


def _proof(status: WrapperStatus) -> Text:
    """The word in its colour, and by what it was earned."""
    return Text.assemble(word(status.proof), f": {status.detail}")


def export(job: ExportJob) -> RenderableType:
    """One job, with its error in full."""
    lines: list[tuple[str, object]] = [
        ("job", job.id),
        ("training", job.training_job_id),
        ("version", f"v{job.version}" + (" (default)" if job.is_default else "")),
        ("tag", job.version_tag),
        ("format", job.export_format),
        ("status", word(job.status)),
        ("waits for", Text(job.waits_for, style="yellow") if job.waits_for else ""),
        ("last sign", _ago(job.heard_at) if job.status == "running" else ""),
        ("proof", word(job.proof)),
        ("model size", size(job.model_size_bytes)),
        ("package", job.export_package_path),
        ("signed by", job.signing_key_id or Text("nobody", style="yellow") if job.signing_key_id is not None else ""),
        *((f"{language} wrapper", _proof(status)) for language, status in job.wrappers.items()),
        ("trace", job.trace_id),
    ]
    if job.error:
        lines += [
            ("error", Text(f"{job.error.message} [{job.error.code}]", style="red")),
            ("at", " / ".join(part for part in (job.error.stage, job.error.operator) if part)),
            ("cause", job.error.cause),
            ("hint", job.error.hint),
        ]
    return facts(lines)


def capabilities(found: Sequence[ExportCapabilities]) -> RenderableType:
    headers = ("FRAMEWORK", "FORMAT", "SUPPORTED", "QUALITY", "PREPROCESSING", "NOW", "WHY NOT")
    rows: list[tuple[RenderableType, ...]] = []
    for answer in found:
        for name, cell in answer.formats.items():
            live = answer.live.get(name)
            now = Text("yes", style="green") if live and live.available else Text("no", style="yellow")
            how = "embedded" if cell.preprocessing_embedded else "in the wrapper"
            supported = Text("yes", style="green") if cell.supported else Text("no", style="red")
            reason = cell.reason or _why_not(live)
            rows.append((answer.framework, name, supported, cell.quality, how, now, reason))
    return table(headers, rows)


def _why_not(live: Availability | None) -> str:
    """The reason, or of a format with flavours those that cannot be made now."""
    if live is None or live.reason:
        return live.reason if live else ""
    return "; ".join(f"flavor {name}: {why}" for name, why in live.flavors.items() if why)


def deployments(found: Sequence[Deployment]) -> RenderableType:
    headers = ("ID", "NAME", "TYPE", "STATUS", "REQUESTS", "CREATED")
    rows = (
        (str(d.id), d.name, d.deployment_type, word(d.status), str(d.request_count), when(d.created_at)) for d in found
    )
    return table(headers, rows)


def deployment(found: Deployment) -> RenderableType:
    lines: list[tuple[str, object]] = [
        ("deployment", found.id),
        ("name", found.name),
        ("type", found.deployment_type),
        ("status", word(found.status)),
        ("endpoint", found.endpoint_url),
    ]
    if found.deployment_type.is_built and found.status is DeploymentStatus.ACTIVE:
        lines.append(("fetch it", f"modelport download {found.id}"))
    if found.error:
        lines += [("error", Text(found.error.message, style="red")), ("hint", found.error.hint)]
    if found.api_key:
        lines += [("api key", Text(found.api_key, style="bold")), ("", ONCE)]
    return facts(lines)


def with_key(found: Deployment, api_key: str | None) -> Deployment:
    """The settled deployment together with the key that only its creation told."""
    return msgspec.structs.replace(found, api_key=api_key)


def history(found: Sequence[DeploymentEvent]) -> RenderableType:
    rows = ((when(e.created_at), e.event_type, e.status_before or "", e.status_after or "") for e in found)
    return table(("WHEN", "EVENT", "BEFORE", "AFTER"), rows)


def usage(found: Usage) -> RenderableType:
    mean = found.total_inference_time_ms / found.request_count if found.request_count else None
    return facts(
        (
            ("requests", found.request_count),
            ("errors", found.error_count),
            ("last request", when(found.last_request_at)),
            ("time in all", f"{found.total_inference_time_ms:.0f} ms"),
            ("mean", f"{mean:.1f} ms" if mean is not None else None),
        )
    )


def users(found: Sequence[User]) -> RenderableType:
    rows = ((str(u.id), u.name, u.tier, when(u.created_at)) for u in found)
    return table(("ID", "NAME", "TIER", "CREATED"), rows)


def new_user(found: NewUser) -> RenderableType:
    return facts((("user", found.id), ("token", found.token), ("", ONCE)))


def token(found: Token) -> RenderableType:
    return facts((("token", found.token), ("", ONCE)))


def tokens(found: Sequence[Token]) -> RenderableType:
    rows = (
        (str(t.id), t.prefix, t.name, ", ".join(t.scopes), when(t.created_at), when(t.expires_at), when(t.revoked_at))
        for t in found
    )
    return table(("ID", "PREFIX", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED"), rows)


def dead_letters(found: Sequence[DeadLetter]) -> RenderableType:
    rows = ((str(d.sequence), when(d.failed_at), d.consumer, d.code, d.reason) for d in found)
    return table(("NUMBER", "GIVEN UP", "CONSUMER", "CODE", "REASON"), rows)


def replayed(found: Replayed) -> RenderableType:
    done = found.action.replace("_", " ")
    return facts((("done", done), ("job", found.job_id), ("deployment", found.deployment_id)))


def api_key(found: ApiKey) -> RenderableType:
    return facts((("api key", found.api_key), ("", ONCE)))


def inference(found: Inference) -> RenderableType:
    rows = [
        (p.class_name, f"{p.confidence:.4f}", ", ".join(f"{value:.1f}" for value in p.bbox or ()), adds(p))
        for p in found.predictions
    ]
    shown = 4 if any(row[3] for row in rows) else 3
    summary = Text(f"{len(found.predictions)} predictions, {found.latency_ms:.1f} ms, model {found.model_version}")
    return Group(table(("CLASS", "CONFIDENCE", "BOX", "MORE")[:shown], [row[:shown] for row in rows]), summary)


def adds(found: Prediction) -> str:
    """In a few words what a prediction has beside its box."""
    parts = []
    if found.rotated_box:
        x, y, width, height, angle = found.rotated_box
        parts.append(f"{width:.1f} x {height:.1f} at {x:.1f}, {y:.1f}, turned by {degrees(angle):.1f}°")
    if found.keypoints:
        parts.append("points " + " ".join(f"({x:.0f}, {y:.0f})" for x, y, _ in found.keypoints))
    if found.mask:
        parts.append(f"mask of {found.mask.area} pixels")
    return ", ".join(parts)
