"""What PostgreSQL says passes by itself, unless it is about the data: by the class of its SQLSTATE."""

import asyncpg
import pytest

from farebox.errors import Transient
from farebox.kafka.faults import is_transient
from farebox.postgres import is_about_data, translated

ABOUT_THE_DATA = {
    "21000": "ON CONFLICT DO UPDATE meets a row twice",
    "22001": "too long for its column",
    "22003": "a number out of range",
    "22021": "a NUL character",
    "23502": "a null where none may be",
    "23505": "a key that is there",
    "23514": "a check refuses it",
    "27000": "a trigger's row was changed by the trigger",
    "44000": "a view refuses it",
    "54000": "an index row larger than a page can hold",
}
PASSES = {
    "08006": "connection lost",
    "0A000": "a cached plan whose result type has changed",
    "25006": "read-only: a failover",
    "25P03": "idle in transaction for too long",
    "26000": "a prepared statement that a pooler has lost",
    "28000": "authentication: a role is being changed",
    "28P01": "authentication: a password is being rotated",
    "3D000": "no such database: it is being restored",
    "3F000": "no such schema: it is being restored",
    "40001": "serialisation",
    "40P01": "deadlock",
    "42501": "no right to a table",
    "42703": "no such column: a migration is to come",
    "42P01": "no such table: a migration is to come",
    "53100": "disk full",
    "53300": "too many connections",
    "55000": "a recovery is under way",
    "55P03": "lock timeout",
    "57014": "cancelled",
    "57P01": "shut down",
    "57P03": "starting up",
    "58030": "input or output error",
    "72000": "snapshot too old",
    "F0000": "configuration file error",
    "P0001": "a function raised it",
    "XX000": "internal error",
    "XX001": "data corrupted",
    "ZZ999": "a code that nobody knows yet",
}


def said(sqlstate: str) -> asyncpg.PostgresError:
    error: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": sqlstate, "M": "no"})
    return error


@pytest.mark.parametrize("sqlstate", ABOUT_THE_DATA)
def test_an_error_about_the_data_stays(sqlstate: str) -> None:
    assert is_about_data(said(sqlstate))
    assert not is_transient(said(sqlstate))
    with pytest.raises(asyncpg.PostgresError), translated():
        raise said(sqlstate)


@pytest.mark.parametrize("sqlstate", PASSES)
def test_every_other_error_of_postgresql_passes(sqlstate: str) -> None:
    assert is_transient(said(sqlstate))
    with pytest.raises(Transient, match=sqlstate), translated():
        raise said(sqlstate)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state"),
        asyncpg.TargetServerAttributeNotMatched("no server of this list takes writes"),
        asyncpg.ClientConfigurationError("a certificate file is being replaced"),
        ConnectionResetError("reset"),
        TimeoutError(),
    ],
    ids=repr,
)
def test_what_the_driver_says_of_itself_passes(error: Exception) -> None:
    assert is_transient(error)
    with pytest.raises(Transient), translated():
        raise error


def test_a_value_that_does_not_fit_its_parameter_is_about_the_data() -> None:
    error = asyncpg.exceptions._base.DataError("invalid input for query argument $1")
    assert is_about_data(error)
    assert not is_transient(error)


def test_a_python_error_is_neither() -> None:
    assert not is_about_data(ValueError("bad"))
    assert not is_transient(ValueError("bad"))
