"""SQL is text with names, and what went wrong is either worth another try or not."""

import asyncpg
import pytest

from farebox.errors import Transient
from farebox.postgres import Queries, translated


def test_queries_are_found_by_their_names() -> None:
    queries = Queries.parse("-- What this is.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- Why.\nSELECT 2;\n")
    assert dict(queries) == {"one": "SELECT 1;", "two": "-- Why.\nSELECT 2;"}


def test_a_name_inside_a_line_names_nothing() -> None:
    assert list(Queries.parse("-- name: one\nSELECT 1; -- name: two\n  -- name: three")) == ["one"]


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Queries.parse("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;")


def test_sql_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="before the first"):
        Queries.parse("SELECT 0;\n-- name: one\nSELECT 1;")


def test_the_librarys_own_queries_load() -> None:
    assert "outbox_enqueue" in Queries.load("farebox")


@pytest.mark.parametrize(
    "error",
    [
        OSError("refused"),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.LockNotAvailableError("x"),
        asyncpg.QueryCanceledError("x"),
    ],
    ids=repr,
)
def test_an_error_that_passes_is_transient(error: Exception) -> None:
    with pytest.raises(Transient, match=type(error).__name__) as raised, translated():
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("x"),
        asyncpg.CheckViolationError("x"),
        ValueError("x"),
    ],
    ids=repr,
)
def test_an_error_that_stays_is_left_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), translated():
        raise error
