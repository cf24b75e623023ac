"""A fault point kills the process it was armed in, at the pass that was named, and does nothing anywhere else."""

import os
import signal
import subprocess
import sys

from farebox import faults

PROGRAM = """
from farebox import faults
for number in range(5):
    faults.point("here")
    print(number, flush=True)
"""


def run(**variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours


def test_an_unarmed_point_does_nothing() -> None:
    assert run().stdout.split() == ["0", "1", "2", "3", "4"]


def test_an_armed_point_kills_at_the_pass_that_was_named() -> None:
    done = run(FAREBOX_FAULT_POINT="here:3")
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.startswith("0\n1\n")
    assert "fault_point" in done.stdout


def test_another_point_is_not_this_one() -> None:
    assert run(FAREBOX_FAULT_POINT="there:1").returncode == 0


def test_the_environment_of_a_running_process_arms_nothing() -> None:
    os.environ[faults.VARIABLE] = "here"
    try:
        faults.point("here")
    finally:
        del os.environ[faults.VARIABLE]
