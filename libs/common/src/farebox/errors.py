"""Errors that more than one service raises, and how they reach an HTTP caller.

    FareboxError
    ├── Transient         the same call may succeed later: retried with backoff, never dead-lettered
    ├── Invalid           the caller's input is wrong: every problem is listed
    ├── NotFound
    ├── Conflict          the thing exists already or is in another state
    ├── Unauthenticated
    └── Forbidden

Expected answers of the core (a refusal, an unpriced call) are values, not exceptions.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import ValidationError


class FareboxError(Exception):
    """Root of the tree. `code` is stable and machine-readable, `status` is the HTTP status it maps to."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False


class Transient(FareboxError):
    """A dependency is away or busy; nothing is wrong with the input."""

    code = "unavailable"
    status = 503
    retryable = True


class Invalid(FareboxError):
    """The input is refused. `problems` lists every one of them, each a sentence naming its field."""

    code = "invalid_request"
    status = 422

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("; ".join(self.problems))


class NotFound(FareboxError):
    """No such thing, or none that this caller may see."""

    code = "not_found"
    status = 404


class Conflict(FareboxError):
    """The request is well-formed but contradicts what is stored."""

    code = "conflict"
    status = 409


class Unauthenticated(FareboxError):
    """No credential, or one that is not valid."""

    code = "invalid_api_key"
    status = 401


class Forbidden(FareboxError):
    """The caller is known and may not do this."""

    code = "forbidden"
    status = 403


def sentences(error: ValidationError) -> list[str]:
    """Pydantic's problems as sentences that name their field and repeat no input."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return [f"{'.'.join(map(str, p['loc'])) or 'body'}: {p['msg']}" for p in problems]
