"""How the end of a step is named."""

import pytest

from export_worker.sandbox.messages import Failed
from export_worker.sandbox.verdicts import explain
from servicekit.sandbox.bubblewrap import MIB, Limits
from servicekit.sandbox.command import signal_of
from servicekit.sandbox.contained import Broken

LIMITS = Limits(memory_bytes=512 * MIB, wall_s=60)
TOLD = Failed(code="parity_failed", message="it differs", stage="verify")


@pytest.mark.parametrize(
    ("broken", "told", "exit_code", "code"),
    [
        (Broken.MEMORY, TOLD, 1, "step_out_of_memory"),
        (Broken.TIME, None, -9, "step_timeout"),
        (Broken.PROCESSES, None, 137, "step_crashed"),
        (None, TOLD, 1, "parity_failed"),
        (None, TOLD, 137, "parity_failed"),
        (None, Failed(code="conversion_failed", message="m", cause="MemoryError()"), 1, "step_out_of_memory"),
        (
            None,
            Failed(code="x", message="m", cause="DefaultCPUAllocator: can't allocate memory"),
            1,
            "step_out_of_memory",
        ),
        (None, None, 137, "step_out_of_memory"),
        (None, None, -9, "step_out_of_memory"),
        (None, None, 128 + 24, "step_timeout"),
        (None, None, 139, "step_crashed"),
        (None, None, 134, "step_crashed"),
        (None, None, 0, "step_crashed"),
        (None, None, None, "step_crashed"),
    ],
)
def test_limits_come_before_words_and_words_before_the_exit_status(
    broken: Broken | None, told: Failed | None, exit_code: int | None, code: str
) -> None:
    error = explain(LIMITS, broken=broken, told=told, exit_code=exit_code)
    assert error.code == code
    assert error.message
    assert error.hint


def test_a_crash_names_its_signal() -> None:
    assert "SIGSEGV" in explain(LIMITS, broken=None, told=None, exit_code=139).message


def test_a_disk_limit_says_how_much_was_allowed() -> None:
    error = explain(LIMITS, broken=Broken.DISK, told=None, exit_code=None)
    assert f"{LIMITS.disk_bytes // MIB} MiB" in error.message


def test_a_plain_exit_status_is_no_signal() -> None:
    assert signal_of(1) is None
    assert signal_of(255) is None
