"""The test servers as containers, for machines where a Docker engine answers.

Containers share the host's network and see their data folder under its own path, so the command lines of
`servicekit.servers` hold inside them as they are, and a restart keeps address and data.
"""

import logging
import os
import subprocess
from functools import cache
from shutil import which
from typing import Any

from servicekit.servers import ServerCommand

IMAGES = {"nats": "nats:2.15-alpine", "postgres": "postgres:18-alpine", "s3": "chrislusf/seaweedfs:4.48"}
CHOICE = "MODELPORT_TEST_SERVERS"
_PULL_S = 300

_log = logging.getLogger(__name__)


@cache
def use_containers(name: str) -> bool:
    """Whether the server `name` runs in a container: a Docker engine answers and has, or can get, the image.

    MODELPORT_TEST_SERVERS=embedded or =containers decides instead.
    """
    chosen = os.environ.get(CHOICE, "")
    if chosen:
        return chosen == "containers"
    docker = which("docker")
    if docker is None or not _succeeds(docker, "version", "--format", "{{.Server.Version}}", timeout_s=5):
        return False
    image = IMAGES[name]
    if _succeeds(docker, "image", "inspect", image, timeout_s=10) or _succeeds(
        docker, "pull", image, timeout_s=_PULL_S
    ):
        return True
    _log.warning("the image %s cannot be had: using the embedded %s", image, name)
    return False


def postgres_in_container(command: ServerCommand, *, user: str, password: str) -> ServerCommand:
    """The official image makes the cluster itself, inside the container, through a socket it needs."""
    settings = [part for part in command.argv if "=" in part and not part.startswith("unix_socket_directories")]
    env = {"POSTGRES_USER": user, "POSTGRES_PASSWORD": password, "POSTGRES_DB": "postgres"}
    return ServerCommand(
        name="postgres",
        argv=("postgres", "postgres", *(f"-c{part}" for part in settings)),
        cwd=command.cwd,
        port=command.port,
        env=env,
    )


class Container:
    """A container that is started, asked to stop, killed and started again like a program."""

    def __init__(self, command: ServerCommand) -> None:
        self._command = command
        self._container: Any = None

    @property
    def pid(self) -> int:
        """The process id on this host."""
        self._container.reload()
        return int(self._container.attrs["State"]["Pid"])

    def start(self) -> None:
        if self._container is None:
            from testcontainers.core.container import DockerContainer

            command = self._command
            made = DockerContainer(IMAGES[command.name], network_mode="host").with_command(list(command.argv[1:]))
            made.with_volume_mapping(command.cwd, command.cwd, "rw")
            for key, value in command.env.items():
                made.with_env(key, value)
            self._container = made.start().get_wrapped_container()
        else:
            self._container.start()

    def is_running(self) -> bool:
        self._container.reload()
        return bool(self._container.status in ("created", "running"))

    def stop(self, patience_s: float) -> None:
        if self._container is not None:
            self._container.stop(timeout=int(patience_s))
            self._container.remove(v=True, force=True)

    def kill(self) -> None:
        if self._container is not None and self.is_running():
            self._container.kill()
            self._container.wait()

    def log(self) -> str:
        return str(self._container.logs().decode(errors="replace"))


def _succeeds(*argv: str, timeout_s: float) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
