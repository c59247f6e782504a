"""`python -m export_worker`: the export worker until SIGTERM."""

from export_worker import settings
from export_worker.app import running_app
from servicekit import process

if __name__ == "__main__":
    process.run("export-worker", process.hold("export-worker", lambda traces: running_app(settings.load(), traces)))
