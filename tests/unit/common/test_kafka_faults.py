import asyncpg
import pytest

from farebox.errors import Invalid, Transient
from farebox.kafka import Undelivered
from farebox.kafka.faults import StrayCancel, is_transient


@pytest.mark.parametrize(
    "error",
    [
        Transient("away"),
        Undelivered("no acknowledgement"),
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.InterfaceError("connection is closed"),
    ],
)
def test_faults_that_pass_by_themselves(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("field"),
        Invalid("no such model"),
        StrayCancel("cancelled"),
        asyncpg.NotNullViolationError(),
        asyncpg.exceptions._base.DataError("invalid input for query argument $1"),
    ],
)
def test_faults_that_no_retry_will_mend(error: Exception) -> None:
    assert not is_transient(error)
