"""Files to and from the object store through presigned links: streamed, digest-checked, never half there."""

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx

from modelport.errors import TransferError

CHUNK = 1 << 20
ATTEMPTS = 3
Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all (0 where unknown)."""


def no_progress(done: int, total: int) -> None:
    """Says nothing."""


def filename(told: str) -> str:
    """What a server calls a file, as a name in this folder: no path, nothing hidden, plain characters; may be empty."""
    name = told.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in name if c.isalnum() or c in " ._-()").lstrip(". ")[:200]


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def as_one_file(path: Path) -> Iterator[Path]:
    """The file itself, or for a folder (a Hugging Face checkpoint) a zip of its files for as long as the block lasts."""
    if path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{path.resolve().name}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for member in sorted(path.rglob("*")):
                if member.is_file():
                    archive.write(member, member.relative_to(path))
        yield target


def put_file(url: str, headers: dict[str, str], path: Path, progress: Progress = no_progress) -> None:
    """PUT a file to a presigned URL; repeated on a broken connection or a 5xx. Raises TransferError."""
    size, reason = path.stat().st_size, ""
    for _ in range(ATTEMPTS):
        with path.open("rb") as file, httpx.Client(timeout=httpx.Timeout(30.0, write=120.0), trust_env=False) as http:
            sent = {**headers, "Content-Length": str(size)}
            try:
                response = http.put(url, content=_pieces(file, size, progress), headers=sent)
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                continue
        if response.status_code < 300:
            return
        reason = f"the object store answered {response.status_code}"
        if response.status_code < 500:
            break
    raise TransferError(f"{path.name} could not be uploaded: {reason}.", "Ask for a new upload link and try again.")


def get_file(url: str, target: Path, sha256: str = "", progress: Progress = no_progress) -> Path:
    """Download to `target`; it appears only when whole and, where `sha256` is given, of that digest. Raises TransferError."""
    partial = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    reason = ""
    try:
        for _ in range(ATTEMPTS):
            try:
                found = _fetch(url, partial, progress)
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                continue
            if sha256 and found != sha256:
                reason = f"its SHA-256 is {found}, not {sha256}"
                continue
            partial.replace(target)
            return target
    finally:
        partial.unlink(missing_ok=True)
    raise TransferError(f"{target.name} could not be downloaded: {reason}.", "Ask for a new link and try again.")


def _fetch(url: str, partial: Path, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    timeout = httpx.Timeout(30.0, read=120.0)
    with httpx.stream("GET", url, timeout=timeout, trust_env=False) as response, partial.open("wb") as file:
        if response.status_code >= 400:
            raise TransferError(
                f"the object store answered {response.status_code}.", "Links expire: ask for a new one and try again."
            )
        total = int(response.headers.get("Content-Length", "0"))
        for piece in response.iter_bytes(CHUNK):
            file.write(piece)
            digest.update(piece)
            done += len(piece)
            progress(done, total)
    return digest.hexdigest()


def _pieces(file: BinaryIO, size: int, progress: Progress) -> Iterator[bytes]:
    done = 0
    while piece := file.read(CHUNK):
        done += len(piece)
        yield piece
        progress(done, size)
