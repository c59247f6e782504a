"""`python -m deployer`: runs the deployer until SIGTERM."""

from deployer.app import SERVICE, run_app
from deployer.settings import Settings
from servicekit import process, settings

if __name__ == "__main__":
    process.run(SERVICE, process.hold(SERVICE, lambda tracing: run_app(settings.load(Settings), tracing)))
