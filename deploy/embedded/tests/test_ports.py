import os
import socket
from pathlib import Path

import msgspec

from embedded.ports import Ports, is_free, owner, taken
from servicekit.servers import free_ports


def numbers(ports: Ports) -> list[int]:
    return [*msgspec.structs.asdict(ports).values(), *msgspec.structs.asdict(ports.s3).values()]


def test_no_port_is_given_twice_and_one_base_moves_them_all() -> None:
    here, there = numbers(Ports.from_base(18000)), numbers(Ports.from_base(19000))
    assert len(set(here)) == len(here)
    assert [port + 1000 for port in here] == there


async def test_a_taken_port_is_named_with_its_owner() -> None:
    [port] = free_ports(1)
    assert is_free(port)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        assert await taken((port,), patience_s=0) == [port]
        assert str(os.getpid()) in owner(port)
    assert await taken((port,), patience_s=0) == []


def test_the_readme_tells_the_offset_of_every_port() -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    told: set[int] = set()
    for line in readme.splitlines():
        cell = line.split("|")[1].strip() if line.startswith("| ") else ""
        if " to " in cell:
            first, last = cell.split(" to ")
            told |= set(range(int(first), int(last) + 1))
        elif cell.replace(",", "").replace(" ", "").isdigit():
            told |= {int(part) for part in cell.split(",")}
    base = 18000
    assert {port - base for port in numbers(Ports.from_base(base))} == told
