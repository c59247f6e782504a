"""What a hostile checkpoint must never reach: a listener of each kind, a secret, and a file of a sibling job."""

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from msgspec import Struct

ENVIRONMENT = "MODELPORT_S3_SECRET_KEY"
CONTENT = "another tenant's weights"


class Canaries(Struct, frozen=True, kw_only=True):
    """`targets` is what the deeds are told; `stung` says what was reached."""

    targets: dict[str, object]
    sockets: dict[str, socket.socket]
    sibling: Path
    secret: str

    def stung(self, *evidence: bytes) -> list[str]:
        """Names of canaries that were touched, or whose secret stands in the evidence."""
        readable, _, _ = select.select(list(self.sockets.values()), [], [], 0)
        found = [name for name, listener in self.sockets.items() if listener in readable]
        if self.sibling.read_text() != CONTENT or len(list(self.sibling.parent.iterdir())) != 1:
            found.append("sibling")
        words = {"secret": self.secret, "sibling's content": CONTENT}
        return found + [name for name, word in words.items() if any(word.encode() in text for text in evidence)]


@contextmanager
def canaries(folder: Path) -> Iterator[Canaries]:
    """Set up in `folder`; the secret is also in this process' environment, as a worker's credentials are."""
    folder.mkdir(parents=True)
    secret = uuid4().hex
    sibling = folder / "sibling" / "job" / "input" / "model.pt"
    sibling.parent.mkdir(parents=True)
    sibling.write_text(CONTENT)
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = secret
    with ExitStack() as stack:
        made = {name: stack.enter_context(opened) for name, opened in _listeners(folder / "s").items()}
        yield Canaries(
            targets={
                "tcp": made["tcp"].getsockname()[1],
                "udp": made["udp"].getsockname()[1],
                "unix": str(folder / "s"),
                "abstract": made["abstract"].getsockname()[1:].decode(),
                "secret": secret,
                "sibling": str(sibling),
                "folders": [str(folder), str(sibling.parent)],
                "worker": os.getpid(),
            },
            sockets=made,
            sibling=sibling,
            secret=secret,
        )
    os.environ.pop(ENVIRONMENT)
    if before is not None:
        os.environ[ENVIRONMENT] = before


def _listeners(path: Path) -> dict[str, socket.socket]:
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    named, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    named.bind(str(path))
    abstract.bind(f"\0modelport-{uuid4().hex}")
    for listener in (named, abstract):
        listener.listen()
    return {"tcp": socket.create_server(("127.0.0.1", 0)), "udp": udp, "unix": named, "abstract": abstract}
