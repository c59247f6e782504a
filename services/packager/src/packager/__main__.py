"""`python -m packager`: runs the packager until SIGTERM."""

from packager.app import SERVICE, run_app
from packager.settings import Settings
from servicekit import process, settings

if __name__ == "__main__":
    process.run(SERVICE, process.hold(SERVICE, lambda tracing: run_app(settings.load(Settings), tracing)))
