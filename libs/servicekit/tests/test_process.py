"""A service's process: what it is told ends it cleanly, what it cannot do it says in one sentence."""

import subprocess
import sys
import textwrap

REFUSES = """
    from contracts.errors import Transient
    from servicekit import process

    async def main():
        raise Transient("unavailable", "NATS does not answer.")

    process.run("deployer", main())
"""
HOLDS = """
    import asyncio, os, signal
    from contextlib import asynccontextmanager
    from servicekit import process

    @asynccontextmanager
    async def start(tracing):
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        yield
        print("cleaned up")

    process.run("packager", process.hold("packager", start))
"""
INSISTS = """
    import asyncio, os, signal
    from contextlib import asynccontextmanager
    from servicekit import process

    @asynccontextmanager
    async def start(tracing):
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        yield
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    process.run("packager", process.hold("packager", start))
"""


def ended(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)


def test_an_error_of_ours_is_one_sentence_with_its_hint() -> None:
    process = ended(REFUSES)
    assert process.returncode == 1
    assert process.stderr.splitlines() == ["deployer: NATS does not answer. Try again in a few seconds."]


def test_what_is_held_open_is_closed_on_sigterm() -> None:
    process = ended(HOLDS)
    assert (process.returncode, process.stdout) == (0, "cleaned up\n")


def test_a_second_sigterm_ends_a_clean_up_that_takes_too_long() -> None:
    assert ended(INSISTS).returncode == 143
