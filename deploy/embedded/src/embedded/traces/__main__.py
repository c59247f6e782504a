"""`python -m embedded.traces <port> <database>`."""

import sys
from pathlib import Path

from aiohttp import web

from embedded.traces.app import build_app
from embedded.traces.store import SpanStore
from servicekit.servers import LOOPBACK


def main(port: str, database: str) -> None:
    """Serve until SIGTERM."""
    store = SpanStore(Path(database))
    try:
        web.run_app(build_app(store), host=LOOPBACK, port=int(port), print=None, access_log=None)
    finally:
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
