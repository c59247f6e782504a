"""Every port of the embedded stack, as an offset from one base, so that two stacks run side by side."""

import asyncio
import socket

import msgspec
import psutil

from servicekit.servers import LOOPBACK, WeedPorts

S3_OFFSET = 30


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults are offsets: `Ports.from_base(18000)` has the gateway on 18000, the proxy on 18001, and so on."""

    gateway: int = 0
    inference_proxy: int = 1
    export_worker: int = 2
    packager: int = 3
    deployer: int = 4
    traces: int = 5
    export_worker_litert: int = 6
    nats: int = 10
    nats_monitor: int = 11
    postgres: int = 12
    triton_http: int = 20
    triton_grpc: int = 21
    triton_metrics: int = 22

    @classmethod
    def from_base(cls, base: int) -> "Ports":
        offsets = msgspec.structs.asdict(cls())
        return cls(**{name: base + offset for name, offset in offsets.items()})

    @property
    def s3(self) -> WeedPorts:
        """SeaweedFS takes the ten ports from offset 30, the S3 protocol on the first."""
        return WeedPorts.from_base(self.gateway + S3_OFFSET)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now (connections in TIME_WAIT do not count)."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


async def taken(ports: tuple[int, ...], patience_s: float) -> list[int]:
    """The ports that are still in use after waiting up to `patience_s` for a server that is on its way out."""
    until = asyncio.get_running_loop().time() + patience_s
    while busy := [port for port in ports if not is_free(port)]:
        if asyncio.get_running_loop().time() >= until:
            return busy
        await asyncio.sleep(0.1)
    return []


def owner(port: int) -> str:
    """Who listens on a port, in words; other users' processes cannot be seen without root."""
    for connection in psutil.net_connections(kind="tcp"):
        if (
            connection.laddr
            and connection.laddr.port == port
            and connection.status == psutil.CONN_LISTEN
            and connection.pid
        ):
            try:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.NoSuchProcess:
                break
    return "another process"
